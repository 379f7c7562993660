#!/usr/bin/env bash
# Builds the image backupd:TAG (default: local) from this checkout, with its base images made sure of first.
#   SUITE=forky PG_MAJOR=18 docker/build.sh [TAG]     another Debian release and PostgreSQL; trixie and 17 by default
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${SUITE:-trixie} pg_major=${PG_MAJOR:-17}
bash docker/base-images.sh "$suite"

arguments=(
  --build-arg "SUITE=$suite"
  --build-arg "PG_MAJOR=$pg_major"
  --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
  --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
)
# Docker knows these without an ARG and does not keep them in the image.
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [ -z "${!name:-}" ] || arguments+=(--build-arg "$name")
done
[ -z "${SOURCE:-}" ] || arguments+=(--build-arg "SOURCE=$SOURCE")

docker build "${arguments[@]}" -f docker/Dockerfile -t "backupd:${1:-local}" .
