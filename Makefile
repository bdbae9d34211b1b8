GO ?= go

# Run by version, with Go alone: it is built once from the module proxy, checked
# against the checksum database, and then comes from Go's build cache.
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

# The directory of every module in the repository, the root module first.
MODULES := $(shell find . \( -name '.?*' -o -name testdata \) -prune -o -name go.mod -print | sed 's|/go.mod$$||' | sort)

# $(call each-module,COMMAND) runs COMMAND in each module's directory ($$m), in
# all of them even when one fails, and fails if any did.
each-module = @status=0; for m in $(MODULES); do \
	echo "==> $$m: $(strip $(1))"; \
	(cd "$$m" && $(1)) || status=1; \
	done; exit $$status

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Compile every package
	$(call each-module,$(GO) build ./...)

.PHONY: fmt
fmt: ## Format the Go code
	$(call each-module,$(GOLANGCI_LINT) fmt)

# A nested module is there to have dependencies of its own: depguard's lists are
# the root module's.
.PHONY: lint
lint: ## Check format, go vet, go.mod and golangci-lint
	@echo "==> gofmt -l ."; files=$$(gofmt -l .) || exit 1; \
	if [ -n "$$files" ]; then echo "Not formatted (run make fmt):"; echo "$$files"; exit 1; fi
	$(call each-module,$(GO) vet ./...)
	$(call each-module,$(GO) mod tidy -diff)
	$(call each-module,$(GOLANGCI_LINT) run $$([ $$m = . ] || echo --disable=depguard))

.PHONY: test-deps
test-deps: ## Install the servers the tests run, where they are missing
	@GO="$(GO)" .ci/install-test-deps

# 1 if the server programs are here: not before test-deps has run. With
# LASTUNIT_REQUIRE_SERVERS=1 a test that cannot get its server fails; without it
# (a plain go test) the test is skipped. Without programs all packages share the
# servers of REDIS_URL and DATABASE_URL, one package at a time. A package has many times
# what it takes on a quiet machine. Most tests wait most of the time, so that more of them
# run at once than there are processors.
INSTALLED = $(shell .ci/install-test-deps --installed && echo 1)
TIMEOUT ?= 40m
GO_TEST = LASTUNIT_REQUIRE_SERVERS=$(INSTALLED) $(GO) test -count=1 -parallel 6 -timeout $(TIMEOUT)$(if $(INSTALLED),, -p 1)
say-left-out = @[ -n "$(INSTALLED)" ] || echo "Left out: the fault tests that must kill or configure a redis-server or postgres of their own, as the programs are not installed here"

.PHONY: test
test: test-deps ## Run every test, with the race detector and real servers
	$(call each-module,$(GO_TEST) -race ./...)
	$(say-left-out)

# It takes some four times as long as make test.
.PHONY: stalls
stalls: test-deps ## Run every test on a machine that stands still for seconds, again and again
	@$(GO) build -o bin/stalls ./internal/stalls
	@exec bin/stalls $(MAKE) --no-print-directory test TIMEOUT=1h

.PHONY: cover
cover: test-deps ## Run every test and print the statement coverage
	$(call each-module,$(GO_TEST) -covermode=atomic -coverpkg=./... -coverprofile=coverage.out ./... && $(GO) tool cover -func=coverage.out | tail -n 1)
	$(say-left-out)

.PHONY: faults
faults: test-deps ## Find the planted bugs, inject every fault in full (silently), and replace docs/faults.md: about 5 minutes
	LASTUNIT_FAULTS=full LASTUNIT_FAULTS_TABLE="$(CURDIR)/docs/faults.md" $(GO_TEST) -run '^TestFault$$' ./internal/faults
	$(say-left-out)

# ARGS are the flags of internal/bench, as in ARGS="-seconds 2 -callers 1000 -json FILE".
.PHONY: bench
bench: export LASTUNIT_BENCH_COMMAND = make bench$(if $(ARGS), ARGS="$(ARGS)")
bench: test-deps ## Measure beside what people use instead, some 20 minutes (ARGS="-help")
	@$(GO) build -C internal/bench -o "$(CURDIR)/bin/bench" .
	@exec bin/bench -svg internal/bench/bench.svg $(ARGS)

# What fails is kept under testdata/fuzz of the package, and is a test from then on.
SECONDS ?= 10
.PHONY: fuzz
fuzz: ## Fuzz each input for SECONDS=10 in turn
	@for package in ./inventory ./examples/boxoffice; do \
	for name in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	echo "==> $$package $$name"; \
	$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(SECONDS)s -fuzzminimizetime 100x $$package || exit 1; \
	done; done

MINUTES ?= 30
.PHONY: soak
soak: test-deps ## Sell for MINUTES=30, and fail if anything grows
	LASTUNIT_SOAK=$(MINUTES)m LASTUNIT_REQUIRE_SERVERS=$(INSTALLED) $(GO) test -v -count=1 -timeout $$(($(MINUTES) + 10))m ./internal/soak

# SEED repeats the schedule of a run; without it a random one is taken, and printed.
.PHONY: robustness
robustness: SECONDS = 60
robustness: test-deps ## Break everything for SECONDS=60, drawn from SEED, and check every answer
	LASTUNIT_SECONDS=$(SECONDS) SEED=$(SEED) $(GO_TEST) -race -timeout $$(($(SECONDS) + 600))s -v -run '^TestRobustness' ./internal/robustness
	$(say-left-out)

.PHONY: planted
planted: test-deps ## Plant every bug of internal/robustness, and see that it is found
	LASTUNIT_FAULTS=full $(GO_TEST) -v -run '^TestPlantedBugs$$' ./internal/robustness
	$(say-left-out)
faults: planted
