# Every goal sets up what it needs on Debian 12 (as root or with sudo); elsewhere install clang, libclang and cargo first.
SHELL := /bin/bash
CARGO := $(shell command -v cargo || echo $$HOME/.cargo/bin/cargo)
MINUTES ?= 10

# The parts of the harness, each with its full budget: make crash [CASES=5000] [SEED=1]; see tests/README.md.
HARNESS := crash damage faults fleet hostile index lying source

.PHONY: $(HARNESS) rows runs planted mutants demo demo-pbx test lint bench fuzz measure setup setup-demo setup-test

demo: setup setup-demo
	$(CARGO) build --release
	@benches/demo.sh "$$($(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/dedup"
	@benches/demo_module.sh "$$($(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/dedup"

# A telephone system with a million call records and modules in PHP, on a server of its own: make demo-pbx [CALLS=1000000].
demo-pbx: setup
	@benches/setup.sh demo-pbx
	$(CARGO) build --release
	@benches/demo_pbx.sh "$$($(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/dedup" $(CALLS)

test: setup setup-test
	$(CARGO) build --release
	$(CARGO) test --release --workspace --exclude dedup-fuzz

$(HARNESS): setup setup-test
	DEDUP_TEST_BUDGET=full DEDUP_TEST_CASES=$(CASES) DEDUP_TEST_SEED=$(SEED) \
		$(CARGO) test --release --test all harness::$@:: -- --nocapture --include-ignored
	$(if $(filter index,$@),$(CARGO) test --release -p dedup-engine --lib index::tests::damage -- --nocapture --include-ignored)

# Runs of modules: every step made to fail, and 2,000 runs with faults or killed at random.
runs: setup setup-test
	DEDUP_TEST_BUDGET=full DEDUP_TEST_CASES=$(CASES) DEDUP_TEST_SEED=$(SEED) \
		$(CARGO) test --release --test all runs:: -- --nocapture --include-ignored

# Would the tests find a bug? More than a hundred are planted, one at a time. Afterwards the program is built again without them.
planted: setup setup-test
	DEDUP_TEST_SEED=$(SEED) $(CARGO) test --release --features planted --test all harness::planted:: -- --nocapture; \
		found=$$?; $(CARGO) build --release && exit $$found

# Would the engine's own tests find any small change of its code? cargo-mutants makes them one by one, with a build and a run
# of tests for each: a day for all of them, so take a part: make mutants WHERE=restore/places.rs, or SHARD=0/24.
mutants: setup
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	$(CARGO) mutants -p dedup-engine $(if $(WHERE),-F '$(WHERE)') $(if $(SHARD),--shard $(SHARD)) --output $(or $(OUT),/var/tmp)

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --no-deps --workspace --exclude dedup-fuzz
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check licenses bans sources

bench: setup
	$(CARGO) bench

# Whole runs beside the rivals that are installed; see benches/README.md.
measure: setup
	$(CARGO) build --release
	benches/rivals.sh

# Large tables of MariaDB, PostgreSQL and SQLite there and back: make rows ROWS=10000000 [ENGINES=postgresql].
rows: setup setup-test
	$(CARGO) build --release
	@benches/rows.py --bin "$$($(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/dedup" --rows $(or $(ROWS),1000000) $(ENGINES)

# Each fuzz target for MINUTES minutes, as many at once as there are cores.
fuzz: setup
	fuzz/run.sh $(MINUTES)

setup:
	@benches/setup.sh build

setup-demo:
	@benches/setup.sh demo

setup-test:
	@benches/setup.sh test
