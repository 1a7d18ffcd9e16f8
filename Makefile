# The two commands of a newcomer are `make run` and `make test`; the rest is for those who work here.
SHELL := /bin/bash
# A crash under the address sanitizer would hang in the backtracer.
export SWIFT_BACKTRACE := enable=no

.PHONY: help run demo build release test bench soak proof proof-sim format lint clean deps

help:
	@echo "make run      build and serve with a private PostgreSQL; prints where and with which key"
	@echo "make demo     the same with a provider that fails, and users between them: to look at"
	@echo "make test     everything that must hold; installs what it needs"
	@echo "make bench    measure beside others; see docs/benchmarks.md"
	@echo "make soak     the long runs: full counts, kills, load"
	@echo "make proof    the stock E2B SDK, direct and through the gateway, while the provider fails; writes docs/proof.md"
	@echo "make proof-sim  measure the policies under virtual time, write docs/proof.md"
	@echo "make format   swift format over the sources"

deps:
	@Scripts/install-deps

run: deps
	@Scripts/run

demo: deps
	@Scripts/demo

build: deps
	@Scripts/stamp
	swift build

release: deps
	@Scripts/stamp
	swift build -c release --static-swift-stdlib --product breakwater --scratch-path .build-release

test: deps
	@Scripts/test

bench: deps
	@Scripts/bench

soak: deps
	@Scripts/soak

proof: deps
	@Scripts/proof-run --write
	@Scripts/proof-overhead --write

proof-sim: deps
	@Scripts/proof-sim

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests
	# The formatter joins the words of `for unsafe x in`; see CONTRIBUTING.
	@! grep -rnE 'for unsafe[^ ]' Sources Tests

clean:
	rm -rf .build .build-*
