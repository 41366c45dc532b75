# Each command does everything on a fresh Debian 12, as root, with Rust by rustup: `make demo`, `make test`, `make bench`.

.PHONY: help setup build demo test test-stock-kernel chaos fuzz bench lint clean

help:
	@echo 'make demo   a LAN with a real LXD, a guest that cannot reach its host, the daemon, and then it can'
	@echo 'make test   every test, those with a real LXD and a real Incus included'
	@echo 'make bench  how fast and how light it is; BENCH="latency heal --guests 100" for a part, BENCH=--help'
	@echo 'make test-stock-kernel'
	@echo '            the tests of the kernel layer under Debian'\''s own kernel, in a VM: some minutes'
	@echo 'make chaos  random faults for SECONDS (120), drawn by SEED (random): every violation is shown'
	@echo 'make fuzz   tries what reads the words of others with anything, each for SECONDS (120)'
	@echo 'make build  the release binary: target/release/macvlan-shim'
	@echo 'make lint   formatting, clippy, documentation'

# The packages that the demo and the tests need. Quick where they are there.
setup:
	@tests/lab/setup.sh

build: setup
	cargo build --release --locked

demo: setup
	@cargo build --release --locked --quiet
	@cargo run --locked --quiet -p macvlan-shim-lab --bin demo -- target/release/macvlan-shim

test: export RUST_LIB_BACKTRACE = 0
test:
	@tests/lab/setup.sh debian
	cargo test --workspace --locked

# All of it takes about ten minutes. The bench is built on its own, so that the binary is what users get.
bench: build
	cargo run --release --locked --quiet -p macvlan-shim-bench -- $(BENCH)

test-stock-kernel:
	@tests/lab/setup.sh debian qemu
	@tests/lab/stock-kernel.sh kernel

SECONDS = 120
chaos: setup
	@cargo build --release --locked --quiet
	@cargo run --locked --quiet -p macvlan-shim-chaos -- target/release/macvlan-shim \
	  --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

fuzz:
	@tests/lab/setup.sh fuzz
	@tests/fuzz/run.sh $(SECONDS)

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

clean:
	cargo clean
