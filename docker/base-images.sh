#!/usr/bin/env bash
# Makes sure that the public images which the Dockerfiles start from are here; where no registry can be reached, it makes stand-ins.
#   docker/base-images.sh [SUITE...]     Debian suites of the final image, trixie by default
set -euo pipefail
. "$(dirname "$0")/../tests/needs.sh"

[ $# -gt 0 ] || set -- trixie
work=$(mktemp -d "${TMPDIR:-/tmp}/backupd-base.XXXXXX")
# One file system: debootstrap mounts /proc below while it works.
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

docker version >/dev/null || { echo "please install and start Docker first" >&2; exit 1; }

# have IMAGE: is here, or comes from a registry. One that cannot be reached says so at once; the time is for slow lines.
have() {
  docker image inspect "$1" >/dev/null 2>&1 || timeout 600 docker pull -q "$1" >/dev/null 2>&1
}

# debian DIRECTORY SUITE [PACKAGES]: a minimal system, from where this machine gets its own packages.
debian() {
  local uri include=${3:-} script=()
  # shellcheck disable=SC2016 # apt's own variable
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
  [[ $uri != https:* ]] || include=${include:+$include,}ca-certificates
  # An older debootstrap does not know the newest suites; all of them are made like sid.
  [ -e "/usr/share/debootstrap/scripts/$2" ] || script=(sid)
  debootstrap --variant=minbase ${include:+"--include=$include"} "$2" "$1" "$uri" "${script[@]+"${script[@]}"}" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" "$1/debootstrap/debootstrap.log" >&2; return 1; }
  # What this machine's apt needs to get through, and what the official images leave out.
  apt-config dump | grep -E '^Acquire::(https?|Check-[A-Za-z-]+|Retries)\b' >"$1/etc/apt/apt.conf.d/99machine" || true
  echo 'APT::Install-Recommends "false"; Acquire::Languages "none";' >"$1/etc/apt/apt.conf.d/docker-no-extras"
  echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
  printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' \
    '/usr/share/lintian/*' >"$1/etc/dpkg/dpkg.cfg.d/docker"
  echo 'path-include /usr/share/doc/*/copyright' >>"$1/etc/dpkg/dpkg.cfg.d/docker"
  rm -rf "$1"/usr/share/{man,info,locale,lintian}/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*
  find "$1/usr/share/doc" -type f ! -name copyright -delete
  find "$1/usr/share/doc" -type d -empty -delete
  # Certificate authorities that this machine trusts beside the public ones, for a proxy that its clients go through.
  if [[ $include == *ca-certificates* ]]; then
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp -t "$1/usr/local/share/ca-certificates" {} +
    chroot "$1" update-ca-certificates >/dev/null 2>&1
  fi
}

# rust DIRECTORY: this machine's own toolchain where the official image has one, and no more of it than a build needs.
rust() {
  local from to
  from=$(rustc --print sysroot)
  to=/usr/local/rustup/toolchains/${from##*/}
  mkdir -p "$1$to/bin" "$1$to/lib/rustlib" "$1/usr/local/cargo/bin"
  cp -a "$from"/bin/{cargo,rustc} "$1$to/bin"
  cp -a "$from"/lib/lib*.so* "$1$to/lib"
  cp -a "$from/lib/rustlib/$(rustc --print host-tuple)" "$1$to/lib/rustlib"
  ln -s "$to"/bin/{cargo,rustc} "$1/usr/local/cargo/bin"
  if [ -e "${CARGO_HOME:-$HOME/.cargo}/config.toml" ]; then
    cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$1/usr/local/cargo"
  fi
}

# stand_in IMAGE DIRECTORY SETTING...: what was made, as an image, said loudly.
stand_in() {
  local image=$1 root=$2 change=()
  shift 2
  for setting in "$@"; do change+=(--change "$setting"); done
  tar -C "$root" --one-file-system --numeric-owner -c . | docker import "${change[@]}" - "$image" >/dev/null
  rm -rf "$root"
  printf '\n*** %s could not be pulled: made a STAND-IN of that name from Debian packages. Remove it to get the real one. ***\n\n' "$image" >&2
}

# need_standin_tools: a stand-in is made by root, with this machine's apt.
need_standin_tools() {
  [ "$(id -u)" -eq 0 ] || { echo "no registry to pull $1 from, and only root can make a stand-in" >&2; exit 1; }
  need debootstrap
  # Where this machine's packages come from is known from its package lists.
  [ -n "$(apt-get indextargets)" ] || apt-get update -qq
}

for suite in "$@"; do
  image=debian:$suite-slim
  have "$image" && continue
  need_standin_tools "$image"
  debian "$work/$suite" "$suite"
  stand_in "$image" "$work/$suite" 'CMD ["bash"]'
done

image=rust:1-slim-trixie
if ! have "$image"; then
  need_standin_tools "$image"
  need_rust
  debian "$work/rust" trixie ca-certificates,gcc,libc6-dev,make
  rust "$work/rust"
  stand_in "$image" "$work/rust" 'ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo' \
    'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' 'CMD ["bash"]'
fi
