#!/usr/bin/env bash
# Sourced by the other scripts: makes sure of the programs they need, or says in one line what to install.

# What the sample stack needs, the same with what builds backupd, and what the tests need besides.
sample_packages=(postgresql postgresql-client gzip tar attr)
stack_packages=(gcc libc6-dev make "${sample_packages[@]}")
test_packages=(openssl zstd util-linux procps time)

# missing PACKAGE...: those that are not installed.
missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
}

# extension_packages: for the newest server that is there, or that would be installed. Restores and drills meet a real pg_cron and a real
# PostGIS.
extension_packages() {
  local major
  major=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -V | tail -n 1) || true
  [ -n "$major" ] ||
    major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1) || true
  # apt takes patterns, where nothing tells the version.
  printf '%s\n' "postgresql-${major:-*}-cron" "postgresql-${major:-*}-postgis-3"
}

# start_no_service: until this subshell ends, however it does, packages start none. What a killed one left is ours to remove, too.
start_no_service() {
  policy=/usr/sbin/policy-rc.d
  [ ! -e "$policy" ] || grep -q "by backupd's tests" "$policy" || return 0
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  printf '#!/bin/sh\n# While packages are installed by backupd'"'"'s tests.\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

# need PACKAGE...: installs Debian packages that are missing, when it may. Otherwise it asks once, for everything that demo and tests need.
need() {
  local lacking cluster=/etc/postgresql-common/createcluster.conf
  # Nothing is asked, and the file that is there stays.
  local quietly=(DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1)
  mapfile -t lacking < <(missing "$@")
  [ ${#lacking[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${lacking[*]}"
    # The packages would start a server on 5432, and a pooler; the scripts start their own.
    mkdir -p "${cluster%/*}"
    [ -e "$cluster" ] || echo 'create_main_cluster = false' >"$cluster"
    (
      start_no_service
      apt-get update -qq && env "${quietly[@]}" apt-get install -y -qq --no-install-recommends "${lacking[@]}"
    ) >/dev/null || { echo "could not install; please run: apt-get install ${lacking[*]}" >&2; exit 1; }
    return 0
  fi
  mapfile -t lacking < <(
    mapfile -t extensions < <(extension_packages)
    missing "$@" "${stack_packages[@]}" "${test_packages[@]}" "${extensions[@]}" | awk '!seen[$0]++'
  )
  local first=
  [ -e "$cluster" ] || first="echo create_main_cluster = false | sudo install -D -m 644 /dev/stdin $cluster && "
  echo "please install first: ${first}sudo apt-get update && sudo env ${quietly[*]} apt-get install -y$(printf ' %q' "${lacking[@]}")" >&2
  exit 1
}

# need_rust: a toolchain as new as Cargo.toml asks for.
need_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || true
  if [ -z "$found" ] || [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "please install Rust $wanted or newer from https://rustup.rs: cargo here is ${found:-missing}, and a distribution's own is often too old" >&2
    exit 1
  fi
}

# need_build PACKAGE...: both. Whoever may not install hears all of it at once; root installs nothing in vain.
need_build() {
  local lacks=
  (need_rust) || lacks=rust
  [ -z "$lacks" ] || [ "$(id -u)" -ne 0 ] || exit 1
  (need "$@") || lacks=packages
  [ -z "$lacks" ] || exit 1
}

# need_temporary: a temporary directory that root's servers, which run as postgres, can reach.
need_temporary() {
  [ "$(id -u)" -eq 0 ] || return 0
  setpriv --reuid=postgres --regid=postgres --clear-groups test -x "${TMPDIR:-/tmp}" && return 0
  echo "postgres cannot reach TMPDIR=${TMPDIR:-/tmp}: using /tmp" >&2
  export TMPDIR=/tmp
}
