# The few verbs of this project. Each line calls one plain command, which can be run by hand as well.

# Where cargo puts what it builds.
BUILT := $(or $(CARGO_TARGET_DIR),target)

.PHONY: quickstart build test soak simulate bench fleet lint fuzz

# Sets up the machine if needed, builds the four programs, and runs the main job: hub, agent, one Wasm and one container
# workload.
PROGRAMS := -p lichen-hub -p lichen-wasmc -p lichen-agent -p lichen-shim --bins
quickstart:
	@echo "1/4  what this machine needs"
	./setup/quickstart.sh
	@echo "2/4  the crates that the programs are made of"
	cargo fetch --locked --target $$(rustc -vV | sed -n 's/^host: //p')
	@echo "3/4  building four programs; the first time takes two to three minutes on two cores"
	cargo build $(PROGRAMS)
	@echo "4/4  a hub and a device"
	$(BUILT)/debug/lichen quickstart $(QUICKSTART_FLAGS)

build:
	cargo build --workspace --bins

# Everything: unit, wire, scenario and system tests. Needs root for the containers; installs what is missing.
test:
	./setup/test.sh
	cargo test --workspace --no-fail-fast -- --include-ignored

# Real programs, killed at random while changes go on: `make soak MINUTES=10 SEED=7`. tests/src/soak says what it judges.
soak: MINUTES ?= 10
soak:
	./setup/test.sh
	cargo build --workspace --bins
	MINUTES=$(MINUTES) SEED=$(SEED) cargo test -p lichen-tests --test soak -- --include-ignored --nocapture

# Histories of the simulated world: `make simulate SEED=7` tells one, `SEEDS=`, `DEVICES=`, `HOURS=` size a run of many.
simulate:
	SEED=$(SEED) SEEDS=$(SEEDS) FIRST=$(FIRST) DEVICES=$(DEVICES) HOURS=$(HOURS) cargo run --quiet -p lichen-world --bin simulate

# A hub and DEVICES hollow devices: `make fleet DEVICES=10000`, `RUN=apply,storm` for some scenarios, `BROKER=mosquitto`
# for a broker beside the hub, FLEET_FLAGS=--help for the rest. tests/fleet/README.md says what is real.
DEVICES ?= 1000
fleet:
	cargo build --profile fleet -p lichen-hub -p lichen-fleet --bins
	$(BUILT)/fleet/lichen-fleet --devices $(DEVICES) $(if $(RUN),--run $(RUN)) $(if $(BROKER),--$(BROKER)) $(FLEET_FLAGS)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# The figures of tests/bench/README.md. The programs are built one by one, so that none drags in another's features.
bench:
	cargo build --release -p lichen-shim --bins
	cargo build --release -p lichen-wasmc --bins
	cargo build --release -p lichen-agent --bins
	cargo build --release -p lichen-hub --bins
	cargo run --release -p lichen-tests --bin bench -- $(BENCH_FLAGS)

# One fuzz target, coverage-guided; needs nightly and cargo-fuzz, see tests/fuzz/README.md.
TARGET ?= frames
SECONDS ?= 600
fuzz:
	mkdir -p tests/fuzz/target/corpus/$(TARGET)
	cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none $(TARGET) tests/fuzz/target/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET) -- -max_total_time=$(SECONDS) -max_len=8192 -rss_limit_mb=2048 -timeout=10
