#!/usr/bin/env bash
# Everything CI runs: lint, unit tests, end-to-end tests on real PostgreSQL servers, and the image in Compose where Docker answers.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
need_rust
need gcc libc6-dev postgresql postgresql-client gzip tar attr openssl zstd util-linux procps
# Of the version that is there: restores and drills meet a real pg_cron and a real PostGIS.
major=$(ls /usr/lib/postgresql | sort -V | tail -n 1)
need "postgresql-$major-cron" "postgresql-$major-postgis-3" time

make lint
cargo build --locked -p backupd
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --locked --no-fail-fast
else
  cargo test --workspace --locked --no-fail-fast
fi

if docker info >/dev/null 2>&1; then
  make e2e
else
  printf '\n*** NO DOCKER ENGINE ANSWERS: the image and the compose file were NOT tested (make e2e). ***\n\n' >&2
fi
