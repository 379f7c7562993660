#!/usr/bin/env bash
# Sourced by the other scripts: makes sure of the programs they need, or says in one line what to install.

# need PACKAGE... : installs Debian packages that are missing, when it may.
need() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # The package would start a server on 5432; the tests start their own.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
      echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null ||
      { echo "could not install; please run: apt-get install ${missing[*]}" >&2; exit 1; }
  else
    echo "please install first: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
}

need_rust() {
  command -v cargo >/dev/null || { echo "please install Rust first: https://rustup.rs" >&2; exit 1; }
}
