# make          this list
# Works as root, and with sudo as anybody else: sudo is used for packages, huge pages and network
# namespaces only.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# bash has a variable of this name; the demo wants it from the command line or the environment only.
ifneq ($(filter command environment,$(origin SECONDS)),)
DEMO_ARGS := --seconds $(SECONDS)
endif

CARGO := $(shell command -v cargo || echo $$HOME/.cargo/bin/cargo)
ifneq ($(shell id -u),0)
SUDO := sudo -E
# Only the tests that make namespaces run with it; cargo itself never does.
AS_ROOT := CARGO_TARGET_$(shell uname -m | tr a-z A-Z)_UNKNOWN_LINUX_GNU_RUNNER="$(SUDO)"
endif

# MiB of huge pages for one appliance; given back afterwards.
HUGE_MB := 1280

# The same for measurements: 16.5 million sessions, both generators, testpmd.
BENCH_MB := 5120
ifneq ($(ONLY),)
BENCH_ARGS := --only $(ONLY)
endif

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 21

.PHONY: setup
setup: ## install the Debian packages that are missing
	@scripts/setup

.PHONY: build
build: setup ## build the binaries: target/release/sluice and sluicectl
	$(CARGO) build --release --locked --package sluice --package sluice-ctl

.PHONY: demo
demo: build ## real traffic through Sluice, with a live table; SECONDS=10 ends by itself
	$(CARGO) build --release --locked --package sluice-tests --bin demo
	@scripts/testbed $(HUGE_MB) $(SUDO) target/release/demo $(DEMO_ARGS)

.PHONY: demo-ha
demo-ha: build ## two appliances under a download: Enter kills one; SECONDS=20 ends by itself
	$(CARGO) build --release --locked --package sluice-tests --bin demo-ha
	@scripts/testbed $(HUGE_MB) $(SUDO) target/release/demo-ha $(DEMO_ARGS)

.PHONY: test
test: setup venv ## all tests: pure ones first, then those between real hosts in namespaces
	$(CARGO) build --locked
	$(CARGO) test --locked --no-fail-fast --workspace --exclude sluice-tests
	$(AS_ROOT) scripts/testbed $(HUGE_MB) \
		$(CARGO) test --locked --no-fail-fast --package sluice-tests -- --test-threads=1

# Not for people: what tests need from PyPI.
.PHONY: venv
venv: setup
	@scripts/venv

.PHONY: test-api
test-api: setup venv ## the API and the process from outside: Schemathesis, kill -9, rights
	$(CARGO) build --locked
	$(CARGO) test --locked --package sluice-tests --test api

.PHONY: sim
sim: ## up to five appliances in virtual time, and the HA protocol alone; SEEDS=5000 tries so many, SEED=7 tries that one
	$(CARGO) test --locked --package sluice-ha --test sim -- --nocapture
	$(CARGO) test --locked --package sluice-dataplane --test ha_sim -- --nocapture

.PHONY: test-console
test-console: setup ## the web console in a browser; pictures in target/console/
	$(CARGO) build --locked
	$(AS_ROOT) scripts/testbed $(HUGE_MB) \
		$(CARGO) test --locked --package sluice-tests --test console

.PHONY: bench
bench: setup ## figures and a plot in target/bench; ONLY=nat44,table for some groups of them
	$(CARGO) build --release --locked --package sluice --package sluice-pktgen --package sluice-bench
	@scripts/testbed $(BENCH_MB) $(SUDO) target/release/sluice-bench $(BENCH_ARGS)

.PHONY: lint
lint: setup ## format, clippy and documentation, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean
