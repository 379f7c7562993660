#!/usr/bin/env bash
# Everything CI runs: lint, unit tests, end-to-end tests on real PostgreSQL servers, and the image in Compose where Docker answers.
# Says when each part began, and at its end what could not be tested here.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh

part() { printf '\n== [%s s] %s\n' "$SECONDS" "$*"; }

part "programs"
# Two rounds for root, where the server's version is not known yet; anybody else is asked once.
need_build "${stack_packages[@]}" "${test_packages[@]}"
mapfile -t extensions < <(extension_packages)
need "${extensions[@]}"
# Nobody else's machine gets a service that it did not have.
[ "$(id -u)" -ne 0 ] || need pgbouncer
need_temporary
target=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
not_tested=$target/tmp/not-tested
rm -f "$not_tested"

part "lint"
make lint

part "build"
cargo build --locked -p backupd
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --locked --no-run
  part "tests"
  # A busy machine may miss a moment that a test waits for: once more, and nextest says which was flaky.
  cargo nextest run --workspace --locked --no-fail-fast --retries 1
else
  part "tests"
  cargo test --workspace --locked --no-fail-fast
fi

if docker info >/dev/null 2>&1; then
  part "the image in Compose"
  make e2e
else
  mkdir -p "$target/tmp"
  echo "no Docker engine answers: the image and the compose files (make e2e)" >>"$not_tested"
fi

part "done"
if [ -s "$not_tested" ]; then
  printf '\n*** NOT TESTED HERE ***\n' >&2
  sort -u "$not_tested" >&2
  printf '*** These are not shown by this run. ***\n\n' >&2
fi
