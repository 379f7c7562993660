# Thin: each target is one script or one cargo call.
.PHONY: demo test soak lint bench build image e2e bare

build:
	cargo build --release --locked -p backupd

# The main job, seen once: a private sample stack, a set, its verification, its restore.
demo:
	bash demo/demo.sh

# Everything CI runs. Installs what is missing, or says what to install.
test:
	bash tests/run.sh

# The long campaigns, of which `make test` runs a slice: a restore interrupted at every statement, four ways; faults at every system call
# of a storage restore, of run, verify and prune; kills at hundreds of moments. Prints the cases by kind (docs/reliability.md).
soak:
	cargo build --locked -p backupd
	if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --profile soak -p tests --locked --run-ignored only --no-fail-fast --no-capture; \
	else \
	  cargo test -p tests --locked --no-fail-fast -- --ignored --nocapture --test-threads 1; \
	fi

lint:
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	bash tests/deny.sh

# Side by side with what the user has today; prints ratios, asserts nothing.
bench:
	bash bench/bench.sh
	bash bench/daemon.sh

# backupd:local, with PostgreSQL 17 on Debian trixie; SUITE=forky PG_MAJOR=18 for newer servers.
image:
	bash docker/build.sh

# The image as a user runs it: Compose, a healthcheck, a database that goes away and comes back. Needs a Docker Engine.
e2e:
	bash docker/e2e.sh
	bash docker/e2e-worst-day.sh
	bash docker/e2e-restore.sh
	bash docker/e2e-bare.sh

# `make demo` in a container that has nothing but Debian and Rust, as root with Docker's own capabilities, and as a plain user.
bare:
	bash docker/e2e-bare.sh
