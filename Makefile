# `make demo` shows it, `make test` proves it. Both install what they lack when run as root on Debian or Ubuntu.

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
GUESTS := testacc/hello/main.rs control-plane/node/guest/main.rs

.PHONY: help demo test packages build lint generate

help:
	@echo "make demo      quickstart on this machine: terraform apply, requests, an update in place; ends with Ctrl-C"
	@echo "make demo ONCE=1    the same, and removes everything at the end"
	@echo "make test      format, lints, generated files, every test; acceptance tests need root"
	@echo "make generate  writes docs/ anew from the schema"

packages:
	@scripts/packages.sh

build:
	cargo build --workspace

demo: packages build
	@ONCE=$(ONCE) scripts/demo.sh

lint:
	cargo fmt --all --check
	rustfmt --check --edition 2024 $(GUESTS)
	terraform fmt -check -recursive examples
	cargo clippy --workspace --all-targets --all-features -- -D warnings

test: packages lint build
	$(TARGET)/debug/xtask generate --check
	SAMPAN_BIN_DIR=$(TARGET)/debug cargo test --workspace

generate:
	cargo xtask generate
