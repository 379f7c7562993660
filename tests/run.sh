#!/usr/bin/env bash
# Everything CI runs: lint, unit tests, end-to-end tests on real PostgreSQL servers, and the image in Compose where Docker answers.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh
# Two rounds for root, where the server's version is not known yet; anybody else is asked once.
need_build "${stack_packages[@]}" "${test_packages[@]}"
mapfile -t extensions < <(extension_packages)
need "${extensions[@]}"
need_temporary

make lint
cargo build --locked -p backupd
if cargo nextest --version >/dev/null 2>&1; then
  # A busy machine may miss a moment that a test waits for: once more, and nextest says which was flaky.
  cargo nextest run --workspace --locked --no-fail-fast --retries 1
else
  cargo test --workspace --locked --no-fail-fast
fi

if docker info >/dev/null 2>&1; then
  make e2e
else
  printf '\n*** NO DOCKER ENGINE ANSWERS: the image and the compose file were NOT tested (make e2e). ***\n\n' >&2
fi
