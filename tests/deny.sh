#!/usr/bin/env bash
# Licences, sources and duplicate crates of the dependency tree, by cargo-deny where it is installed. Advisories need a database from
# the network and run by hand: cargo deny check advisories.
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v cargo-deny >/dev/null; then
  cargo deny --offline --locked check licenses bans sources
else
  echo "cargo-deny is not installed: licences and duplicates were not checked (cargo install cargo-deny)"
fi
