# `make demo` shows it, `make test` proves it. Both install what they lack when run as root on Debian or Ubuntu.

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# TF_CLI_PATH=tofu takes another one, here as in the scripts and the tests.
TERRAFORM := $(or $(TF_CLI_PATH),terraform)
# Programs that run in containers: compiled by build scripts and tests, so in no crate.
GUESTS := testacc/hello/main.rs control-plane/node/guest/main.rs control-plane/node/tests/fixture/app.rs cli/guest/main.rs

# One for each example that has a story.
DEMOS := demo-gray demo-gray-lane demo-blue-green demo-scaling

.PHONY: help demo $(DEMOS) test test-long fuzz bench fresh build lint generate

help:
	@echo "make demo      quickstart on this machine: terraform apply, requests, an update in place; ends with Ctrl-C"
	@echo "make demo ONCE=1    the same, and removes everything at the end; so do the next ones"
	@echo "make demo-gray        a release to some first, then to all, and one that comes back by itself"
	@echo "make demo-gray-lane   gray revisions of two applications, reached by testers through a third one"
	@echo "make demo-blue-green  a full second set of instances, looked at, then switched to"
	@echo "make demo-scaling     instances that follow the load, the clock and a forecast, and none while nobody asks"
	@echo "make test      format, lints, generated files, every test; acceptance tests need root"
	@echo "make test-long    10,000 seeds of the simulator of releases, 2,000 of that of the server, optimised"
	@echo "make fuzz         the codecs of the plugin protocol and the linter, ten minutes each (SECONDS=600), optimised"
	@echo "make bench     speed and memory against their goals, into docs/benchmarks.md; needs root and a quiet machine"
	@echo "make fresh     the quickstart in a Debian 12 that has git, cargo and terraform only; needs root and a mirror"
	@echo "make generate  writes docs/ anew from the schema"

build:
	cargo build --workspace

demo:
	@scripts/packages.sh demo
	@$(MAKE) --no-print-directory build
	@ONCE=$(ONCE) scripts/demo.sh

$(DEMOS):
	@scripts/packages.sh demo
	@$(MAKE) --no-print-directory build
	@ONCE=$(ONCE) scripts/demo.sh $(@:demo-%=%)

lint:
	cargo fmt --all --check
	rustfmt --check --edition 2024 $(GUESTS)
	@if command -v $(TERRAFORM) >/dev/null; then echo "$(TERRAFORM) fmt"; $(TERRAFORM) fmt -check -recursive examples; \
	else echo "skipped: there is no $(TERRAFORM) to check the format of the examples"; fi
	cargo clippy --workspace --all-targets --all-features -- -D warnings

test:
	@scripts/packages.sh test
	@$(MAKE) --no-print-directory lint build
	$(TARGET)/debug/xtask generate --check
	SAMPAN_BIN_DIR=$(TARGET)/debug cargo test --workspace

# Checks of overflow stay on: the point is to find what is wrong.
test-long:
	SAMPAN_SEEDS=10000 CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
	CARGO_TARGET_DIR=$(TARGET)/long cargo test --release -p sampan-engine --test gray whatever
	SAMPAN_SEEDS=2000 CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
	CARGO_TARGET_DIR=$(TARGET)/long cargo test --release -p sampan-server --lib simulation

# A finding names its seed: TF_PLUGIN_FUZZ_SEED=… runs it again alone.
fuzz:
	TF_PLUGIN_FUZZ_SECONDS=$(or $(SECONDS),600) CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
	SAMPAN_FUZZ_SECONDS=$(or $(SECONDS),600) \
	CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_TARGET_DIR=$(TARGET)/long \
	cargo test --release -p tf-plugin -p sampan-validator --test fuzz

bench:
	@scripts/packages.sh bench
	cargo build --release -p sampan -p terraform-provider-sampan -p xtask
	$(TARGET)/release/xtask bench --write

fresh: build
	SAMPAN_BIN_DIR=$(TARGET)/debug cargo test -p sampan-testacc --test fresh_machine -- --ignored --nocapture

generate:
	cargo xtask generate
