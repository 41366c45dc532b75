# Each command does everything on a fresh Debian 12, as root, with Rust by rustup: `make demo`, `make test`, `make bench`.

# `make deb` and `make rpm` need only Rust and a linker, and no network once the crates and the tools are
# there.

.PHONY: help setup build demo test test-repeatedly test-stock-kernel test-stock-node chaos fuzz bench lint deb rpm documents notices sbom release reproducible clean

# The folders of cargo's output and of the packages.
TARGET = $(or $(CARGO_TARGET_DIR),target)
PACKAGES = target/packages
STAGED = target/staged
VERSION = $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# The same commit gives the same binary and the same packages, to the byte, wherever it is built.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
REMAP = --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo
# `macvlan_shim_build_info` shows it. A copy without git has none.
REVISION := $(shell git describe --always --dirty --exclude='*' --abbrev=9 2>/dev/null)
CARGO_RELEASE = RUSTFLAGS="$(RUSTFLAGS) $(REMAP)" MACVLAN_SHIM_REVISION=$(REVISION) cargo

help:
	@echo 'make demo   a LAN with a real LXD, a guest that cannot reach its host, the daemon, and then it can'
	@echo 'make test   every test, those with a real LXD and a real Incus included'
	@echo 'make test-repeatedly'
	@echo '            all of them TIMES (10) times, with a line for each run'
	@echo 'make bench  speed and weight; BENCH="latency heal --guests 100" for a part, BENCH=--help'
	@echo 'make test-stock-kernel'
	@echo '            the tests of the kernel layer under Debian'\''s own kernel, in a VM: some minutes'
	@echo 'make test-stock-node'
	@echo '            the package in a VM: installed, rebooted, upgraded, removed: some minutes'
	@echo 'make chaos  random faults for SECONDS (120), drawn by SEED (random): every violation is shown'
	@echo 'make fuzz   feeds random input to everything that reads from others, each part for SECONDS (120)'
	@echo 'make build  the release binary: target/release/macvlan-shim'
	@echo 'make lint   formatting, clippy, documentation, dependencies'
	@echo 'make deb, make rpm'
	@echo '            a package, to be found in target/packages'
	@echo 'make release'
	@echo '            both, with a list of their crates (SBOM) and checksums'
	@echo 'make reproducible'
	@echo '            builds the release once more, in another folder, and compares every byte'
	@echo 'make clean  removes what cargo built'

# The packages that the demo and the tests need. Quick if they are there.
setup:
	@tests/lab/setup.sh

build:
	$(CARGO_RELEASE) build --release --locked

# Man pages, completions, Debian's changelog.
documents:
	@cargo run --locked --quiet -p macvlan-shim-documents -- target/documents "$$SOURCE_DATE_EPOCH"

deb: build documents
	@command -v dpkg-shlibdeps >/dev/null || { echo 'make deb: needs dpkg-shlibdeps, which is in dpkg-dev' >&2; exit 1; }
	@packaging/cargo-tools.sh cargo-deb
	@mkdir -p $(PACKAGES)
	@rm -f $(PACKAGES)/*.deb   # of another version
	cargo deb --no-build --no-strip --quiet --output $(PACKAGES)/
	@packaging/deb-checksums.sh $(PACKAGES)/*.deb

# From copies with the same time, because an rpm has the times of its files.
rpm: build documents
	@packaging/cargo-tools.sh cargo-generate-rpm
	@rm -rf $(STAGED) && mkdir -p $(STAGED)/target/release $(PACKAGES)
	@rm -f $(PACKAGES)/*.rpm
	@cp -r --parents Cargo.toml *.md .github/*.md packaging profiles target/documents $(STAGED)
	@cp $(TARGET)/release/macvlan-shim $(STAGED)/target/release
	@find $(STAGED) -exec touch -d @$(SOURCE_DATE_EPOCH) {} +
	cd $(STAGED) && cargo generate-rpm --target-dir target --output $(abspath $(PACKAGES))/

# The contents of the binary, crate by crate. The tool describes every member of the workspace, in a file
# beside its Cargo.toml.
sbom:
	@packaging/cargo-tools.sh cargo-cyclonedx
	@mkdir -p $(PACKAGES)
	@rm -f $(PACKAGES)/*.cdx.json
	cargo cyclonedx --quiet --format json --override-filename sbom.cdx
	@sed 's#path+file://$(CURDIR)#path+file://.#g' sbom.cdx.json >$(PACKAGES)/macvlan-shim-$(VERSION).cdx.json
	@rm -f sbom.cdx.json */*/sbom.cdx.json

# The licences of the crates that are built into the binary. To be made again when these change.
notices:
	@packaging/cargo-tools.sh cargo-about
	cargo fetch --quiet --locked
	cargo about generate --locked --offline --fail --config packaging/notices/about.toml \
	  --output-file packaging/THIRD-PARTY-NOTICES packaging/notices/THIRD-PARTY-NOTICES.hbs

# Everything that is published: both packages, the list of crates, the checksums of all. Sign SHA256SUMS.
release: deb rpm sbom
	@if grep -q '^## $(VERSION) (unreleased)' CHANGELOG.md; then echo 'release: give $(VERSION) its date in CHANGELOG.md' >&2; fi
	cd $(PACKAGES) && rm -f SHA256SUMS && sha256sum macvlan-shim* >SHA256SUMS && cat SHA256SUMS

# Builds everything again in another folder, from the committed files, and compares. It takes some minutes.
reproducible: release
	@rm -rf target/again && git clone --quiet . target/again
	@cd target/again && env -u CARGO_TARGET_DIR $(MAKE) --quiet release
	cmp $(PACKAGES)/SHA256SUMS target/again/target/packages/SHA256SUMS
	@rm -rf target/again

demo: setup
	@$(CARGO_RELEASE) build --release --locked --quiet
	@cargo run --locked --quiet -p macvlan-shim-lab --bin demo -- target/release/macvlan-shim

# Every suite runs even if one before failed. In that case it fails at the end.
test:
	@tests/lab/setup.sh debian packages
	@tests/run.sh

# A test that fails by chance fails in one of many runs.
TIMES = 10
test-repeatedly:
	@tests/lab/setup.sh debian packages
	@tests/repeat.sh $(TIMES)

# All of it takes about ten minutes. The bench is built separately, so that the binary is the one that users
# get.
bench: setup build
	$(CARGO_RELEASE) run --release --locked --quiet -p macvlan-shim-bench -- $(BENCH)

test-stock-kernel:
	@tests/lab/setup.sh debian qemu
	@tests/lab/stock-kernel.sh kernel kernel_storms kernel_full_table

test-stock-node:
	@tests/lab/setup.sh debian qemu packages
	cargo test --locked --test package stock_node -- --ignored --nocapture

SECONDS = 120
chaos: setup
	@$(CARGO_RELEASE) build --release --locked --quiet
	@cargo run --locked --quiet -p macvlan-shim-chaos -- target/release/macvlan-shim \
	  --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

fuzz:
	@tests/lab/setup.sh fuzz
	@tests/fuzz/run.sh $(SECONDS)

lint:
	@tests/lab/setup.sh lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	cargo fetch --quiet --locked   # also what other targets need: cargo deny looks at all
	cargo deny --offline --log-level error check licenses bans sources
	cargo machete

clean:
	cargo clean
