#!/usr/bin/env bash
# `make demo`, and what `make test` installs, in a bare container of Debian: asked by a user who may install nothing, as root with
# Docker's default capabilities, and as a user where everything is there. The programs are built before; nothing is compiled in there.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
need_rust
docker info >/dev/null 2>&1 || { echo "please install and start Docker first: no Docker Engine answers" >&2; exit 1; }
bash docker/base-images.sh
image=${IMAGE:-backupd:local}
docker image inspect "$image" >/dev/null 2>&1 || bash docker/build.sh

began=$SECONDS container=backupd-bare-$$
work=$(mktemp -d "${TMPDIR:-/tmp}/backupd-bare.XXXXXX")
say() { printf '\n== [%s s] %s\n' "$((SECONDS - began))" "$*"; }
fail() { printf '\nE2E FAILED: %s\n' "$*" >&2; exit 1; }
cleanup() {
  status=$?
  trap - EXIT
  docker rm -fv "$container" "$container-image" >/dev/null 2>&1
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cargo build --locked --quiet -p tests --example sample_storage
target=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
docker create --name "$container-image" "$image" >/dev/null
docker cp -q "$container-image:/usr/local/lib/backupd/backupd" "$work/backupd"
cp "$target/debug/examples/sample_storage" "$work"
chmod -R a+rX "$work"

docker run -d --name "$container" --init -v "$PWD:/src:ro" -v "$work:/built:ro" -w /src \
  -e BACKUPD=/built/backupd -e SAMPLE_STORAGE=/built/sample_storage debian:trixie-slim sleep 600 >/dev/null
as_root() { docker exec "$container" "$@"; }
as_user() { docker exec -u somebody -e HOME=/home/somebody "$container" "$@"; }
# initdb wants its user to have a name.
as_root useradd --create-home somebody
# nothing_left: no process, no server's port, no file.
nothing_left() {
  local left
  left=$(as_root sh -c 'cat /proc/[0-9]*/comm | grep -e postgres -e backupd; ls -A /tmp; ls /etc/postgresql/*/* 2>/dev/null
    awk "\$4 == \"0A\"" /proc/net/tcp /proc/net/tcp6' || true)
  [ -z "$left" ] || fail "left behind: $left"
}

say "a user who may install nothing is told everything at once, and nothing is done"
if as_user env -u BACKUPD bash demo/demo.sh >"$work/out" 2>&1; then fail "a demo without programs"; fi
cat "$work/out"
[ "$(wc -l <"$work/out")" -eq 2 ] || fail "not a line for Rust, and one for packages"
grep -q 'please install Rust .* from https://rustup.rs: cargo here is missing' "$work/out" || fail "Rust is not asked for"
line=$(sed -n 's/^please install first: //p' "$work/out")
for package in "${stack_packages[@]}" "${test_packages[@]}" cron postgis; do
  [[ $line == *[\ -]$package* ]] || [[ $(as_root dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *installed ]] ||
    fail "$package is not asked for: $line"
done
nothing_left
# What is asked for is there to be installed.
as_root apt-get update -qq
as_root bash -euo pipefail -c "sudo() { \"\$@\"; }; apt-get() { [ \$1 = update ] || command apt-get -qq -s \"\$@\" >/dev/null; }
  env() { while [[ \$1 == *=* ]]; do shift; done; \"\$@\"; }; $line" || fail "the line cannot be pasted: $line"
as_root rm -rf /etc/postgresql-common

say "root with Docker's default capabilities: only make is there"
as_root apt-get install -y -qq --no-install-recommends make >/dev/null 2>&1
as_root make -s demo >"$work/out" 2>&1 || { cat "$work/out"; fail "make demo as root"; }
tail -n 6 "$work/out"
grep -q 'DEMO PASSED' "$work/out" || fail "it does not say that it passed"
nothing_left

say "a user, with everything there"
as_user env SCALE=1 make -s demo >"$work/out" 2>&1 || { cat "$work/out"; fail "make demo as a user"; }
grep -q 'DEMO PASSED' "$work/out" || fail "it does not say that it passed"
nothing_left

say "make demo runs in a bare container"
