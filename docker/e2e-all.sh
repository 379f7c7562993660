#!/usr/bin/env bash
# What `make e2e` runs: the image, then the end-to-end tests. They wait a lot, for healthchecks and timetables, so those that do not touch
# one another run side by side; what ran beside is printed when it has ended.
set -euo pipefail
cd "$(dirname "$0")/.."
docker info >/dev/null 2>&1 || { echo "please install and start Docker first: no Docker Engine answers" >&2; exit 1; }

log=$(mktemp "${TMPDIR:-/tmp}/backupd-e2e-beside.XXXXXX")
# Another name of the image, for what runs beside: the worst day takes the first one away.
image=backupd:e2e-$$ beside=
finish() {
  status=$?
  trap - EXIT
  set +e
  # It has not ended where a test before it failed; each script takes away what it started.
  [ -z "$beside" ] || { kill -- "-$beside" && wait "$beside"; } 2>/dev/null
  docker rmi "$image" >/dev/null 2>&1
  rm -f "$log"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== [%s s] %s\n' "$SECONDS" "$*"; }

say "building the image"
bash docker/build.sh >"$log" 2>&1 || { tail -n 40 "$log"; exit 1; }
docker tag backupd:local "$image"

beside() {
  local status=0
  trap 'exit 143' TERM
  export IMAGE=$image
  bash docker/e2e-bare.sh || status=$?
  bash docker/e2e-restore.sh || status=$?
  return "$status"
}
# A process group of its own, so that it can be ended with its children.
set -m
beside >"$log" 2>&1 &
beside=$!
set +m
bash docker/e2e.sh
say "the worst day"
bash docker/e2e-worst-day.sh

say "what ran beside: a bare container, and from one version to another"
status=0
wait "$beside" || status=$?
beside=
cat "$log"
say "end-to-end tests are done"
exit "$status"
