# Thin: each target is one script or one cargo call.
.PHONY: demo test lint bench build

build:
	cargo build --release --locked -p backupd

# The main job, seen once: a private sample stack, a set, its verification, its restore.
demo:
	bash demo/demo.sh

# Everything CI runs. Installs what is missing, or says what to install.
test:
	bash tests/run.sh

lint:
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	bash tests/deny.sh

# Side by side with what the user has today; prints ratios, asserts nothing.
bench:
	bash bench/bench.sh
