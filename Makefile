# `make help` lists the targets. Settings: make CONFIGURATION=release,
# TEST_ARGS='--filter Postgres', UP_ARGS='--port 0'.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CONFIGURATION ?= debug
BIN := .build/$(CONFIGURATION)
TEST_ARGS ?=
UP_ARGS ?=
BENCH_ARGS ?=
BUILD ?=
HA_ARGS ?=
# The cluster of `make ha-check`.
HA_PACKAGES := patroni etcd-server haproxy pgbouncer redis-sentinel python3 python3-psycopg2
BENCH_OUT ?= bench/results/$(shell date -u +%Y-%m-%d)$(addprefix -,$(filter growth memory,$(BENCH_ARGS))).json
# Every test target of Package.swift, the quick ones first.
MODULES := TextsTests DiagnosticsTests LedgerCoreTests TransparencyLogTests BacktestTests BlockingIOTests \
	PrivateFilesTests PostgresTests RedisTests LedgerSettingsTests EmbeddedServicesTests EventStoreTests \
	ProjectionsTests CategoriesTests FeedTests SealTests AuditTrailTests LedgerClientTests LedgerServerTests \
	EndToEndTests
# What shares memory between threads.
THREAD_MODULES ?= BlockingIOTests PostgresTests RedisTests EventStoreTests ProjectionsTests FeedTests SealTests \
	LedgerServerTests
# HTTP=no builds and tests no HTTP, which takes half the time.
HTTP ?= yes
THREAD := --sanitize=thread --scratch-path .build-thread -Xcc -g0 -Xswiftc -gline-tables-only
# ThreadSanitizer makes a program ten times slower: tests with a limit of seconds would fail. Tests
# of what the database does by itself share no memory.
THREAD_SKIPS := LimitTests|TokenTests/revoke|BoundTests|ConnectionTests/resets|FoldCostTests|DatabaseMatrixTests
# Tests at once. Nearly every test makes a ledger of its own, and many start servers: all at once
# they take twice as long as a few at a time, and reach limits of seconds that they should not.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))
FORMATTED = $(wildcard Package.swift Sources Tests Plugins bench Examples fuzz)
# How long `make fuzz` looks for inputs that break a parser, for each of them.
FUZZ_SECONDS ?= 60

# bin/jobledger is the binary of the last build, whatever its configuration.
define link
@mkdir -p bin && ln -sfn ../$(BIN)/jobledger bin/jobledger
endef

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: deps
deps: ## install what is missing, by apt: libpq, hiredis, Postgres, Redis
	@scripts/install-dependencies

.PHONY: build
build: ## build everything (CONFIGURATION=debug|release) and link bin/jobledger
	scripts/build -c $(CONFIGURATION)
	$(link)

.PHONY: build-tests
build-tests:
	scripts/build -c $(CONFIGURATION) --build-tests
	$(link)

.PHONY: test
test: deps test-tools build-tests ## build and run all tests, on their own Postgres and Redis
ifdef TEST_ARGS
	swift test -c $(CONFIGURATION) --skip-build $(TEST_ARGS)
else
	scripts/test $(MODULES) -- -c $(CONFIGURATION)
	CONFIGURATION=$(CONFIGURATION) scripts/check-openapi
	CONFIGURATION=$(CONFIGURATION) scripts/fuzz 2
	CONFIGURATION=$(CONFIGURATION) scripts/check-ha --short --untimed
endif

.PHONY: test-tools
test-tools:
	@scripts/test-tools
	@scripts/install-dependencies $(HA_PACKAGES)

.PHONY: openapi-check
openapi-check: deps build ## test the running service against its OpenAPI document, for two minutes or so
	CONFIGURATION=$(CONFIGURATION) scripts/check-openapi $(SEED)

.PHONY: fuzz
fuzz: deps build ## look for inputs that break a parser, FUZZ_SECONDS for each of them
	CONFIGURATION=$(CONFIGURATION) scripts/fuzz $(FUZZ_SECONDS)

.PHONY: browser-check
browser-check: deps build ## follow a job with the EventSource of a headless Chromium
	CONFIGURATION=$(CONFIGURATION) scripts/check-browser

.PHONY: ha-check
ha-check: deps build ## try the ledger in a cluster that fails, for minutes (HA_ARGS='--times 5 kill-async'; --list)
	@scripts/install-dependencies $(HA_PACKAGES)
	CONFIGURATION=$(CONFIGURATION) scripts/check-ha $(HA_ARGS)

.PHONY: test-thread
test-thread: export LEDGER_BUILD_HTTP = $(HTTP)
test-thread: deps ## run the tests of THREAD_MODULES under ThreadSanitizer (HTTP=no)
	swift build --build-tests $(THREAD)
	TSAN_OPTIONS=suppressions=$(CURDIR)/scripts/thread-sanitizer.supp \
		scripts/test $(filter-out $(if $(filter no,$(HTTP)),LedgerServerTests),$(THREAD_MODULES)) -- $(THREAD) \
		--skip '$(THREAD_SKIPS)'

.PHONY: test-busy
test-busy: deps test-tools build-tests ## run all tests beside two busy loops a core; takes about three times as long
	scripts/busy $(MAKE) test CONFIGURATION=$(CONFIGURATION)

.PHONY: soak
# 5,000,000 events, a minute of lossy feed, a rebuild of 5,000,000 events, 20,000 jobs as of each
# event, and two minutes of fuzzing a parser.
soak: deps build-tests ## run the long tests
	JOBLEDGER_SOAK=1 swift test -c $(CONFIGURATION) --skip-build \
		--filter 'GaplessTests|TamperingTests|(FeedTests|LedgerServerTests).ChaosTests' \
		--filter 'ProjectionsTests.(AsOfTests|ReplayTests/underLive)'
	CONFIGURATION=$(CONFIGURATION) scripts/fuzz 120

.PHONY: demo
demo: deps build ## run a batch backtest through the whole ledger, then stop
	scripts/demo

.PHONY: bench
bench: deps ## measure against raw COPY and plain INSERT; results in bench/results (BENCH_ARGS='growth --sizes 1,10')
	scripts/build -c release --product jobledger
	.build/release/jobledger bench $(BENCH_ARGS) --out $(BENCH_OUT)

.PHONY: up
up: deps build ## run the ledger with its own Postgres and Redis, until Ctrl-C
	exec $(BIN)/jobledger up $(UP_ARGS)

.PHONY: schema
schema: deps ## write schema.sql anew: the definitions of a ledger after all migrations
	@command -v python3 >/dev/null || scripts/install-dependencies python3
	scripts/schema

.PHONY: format
format: ## format the Swift code in place
	swift format format --in-place --parallel --recursive $(FORMATTED)

.PHONY: style-check
style-check: ## check the lengths of files, functions and lines, and that all tests are run
	@scripts/check-style --self-test
	@scripts/check-style
	@scripts/check-modules $(MODULES)

.PHONY: format-check
format-check: style-check ## check the format of the Swift code, and the lengths
	swift format lint --strict --parallel --recursive $(FORMATTED)

.PHONY: shell-check
shell-check: ## check the shell scripts with shellcheck
	@command -v shellcheck >/dev/null || scripts/install-dependencies shellcheck
	@shellcheck $$(git grep -lE '^#!.*[/ ](ba)?sh$$' -- scripts .ci)

.PHONY: docs
docs: deps build ## make the client library's pages in .build/docs, with DocC
	@CONFIGURATION=$(CONFIGURATION) scripts/docs

.PHONY: compose-check
compose-check: ## check docker-compose.yml
	@scripts/check-compose

.PHONY: filtered-build-check
filtered-build-check: ## check what .dockerignore lets in (BUILD=--build builds it)
	@scripts/check-filtered-build $(BUILD)

.PHONY: image-check
image-check: deps build ## build the Dockerfile, without Docker, and try its image; takes minutes
	CONFIGURATION=$(CONFIGURATION) scripts/check-image

.PHONY: clean
clean: ## remove what was built
	rm -rf .build .build-thread .build-fuzz bin
