# Two commands are enough for a newcomer: `make demo` and `make test`.
.PHONY: help demo test check bench soak fuzz demo-check

help: ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: ## build and run the gateway with four simulated sites; prints the address of the page
	cargo run --release -- demo

test: ## every test; those that need mosquitto, victoria-metrics, pyarrow, xmlschema or node say so when they skip
	cargo test --workspace
	cargo run --quiet -- rules test rules

check: ## format, lints, licences and duplicate dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "skipped: cargo-deny is not installed"; fi

bench: ## what this machine carries
	cargo build --release --quiet
	for what in engine mqtt latency alarms history; do echo "== $$what"; ./target/release/davy bench $$what; done

soak: ## the long campaigns: thousands of kills, long random inputs
	DAVY_SOAK_KILLS=1000 cargo test --release --test kill_nine -- --nocapture
	DAVY_SOAK_EDITS=2500 cargo test --release --test rule_reload -- --nocapture
	DAVY_SOAK_KILLS=20 DAVY_SOAK_STORM=10000 cargo test --release --test storm -- --nocapture
	DAVY_SOAK_STORM=10000 cargo test --release --test storm_first -- --nocapture
	PROPTEST_CASES=20000 cargo test --release --lib

demo-check: ## the demo for 20 s, and a look at what it says
	cargo build --quiet
	./target/debug/davy demo --for 20s --json --port 0 | tee target/demo.json
	python3 tests/demo_object.py target/demo.json

fuzz: ## coverage-guided random inputs, FUZZ_SECONDS (60) a target: rules natively and in Rhai, decoders
	cd fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --release --target x86_64-unknown-linux-gnu
	for target in native decode; do \
		mkdir -p fuzz/corpus/$$target && \
		./fuzz/target/x86_64-unknown-linux-gnu/release/$$target fuzz/corpus/$$target \
			-max_total_time=$(FUZZ_SECONDS) -len_control=0 -max_len=4096 -artifact_prefix=fuzz/ -print_final_stats=1 || exit 1; \
	done

# What libFuzzer needs of the compiler, on the stable toolchain.
FUZZ_SECONDS ?= 60
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
