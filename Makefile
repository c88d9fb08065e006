# Two commands are enough for a newcomer: `make demo` and `make test`.
.PHONY: help demo test check bench soak demo-check

help: ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: ## build and run the gateway with four simulated sites; prints the address of the page
	cargo run --release -- demo

test: ## every test; those that need mosquitto, victoria-metrics, pyarrow or node say so when they skip
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
	DAVY_SOAK_EDITS=1000 cargo test --release --test rule_reload -- --nocapture
	DAVY_SOAK_KILLS=20 DAVY_SOAK_STORM=10000 cargo test --release --test storm -- --nocapture
	DAVY_SOAK_STORM=10000 cargo test --release --test storm_first -- --nocapture
	PROPTEST_CASES=20000 cargo test --release --lib

demo-check: ## the demo for 20 s, and a look at what it says
	cargo build --quiet
	./target/debug/davy demo --for 20s --json --port 0 | tee target/demo.json
	python3 tests/demo_object.py target/demo.json
