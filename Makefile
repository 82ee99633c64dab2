# make help lists the targets.

# Modules of their own, for dependencies that stay out of the root.
MODULES := integration/protoactor integration/peers
TOOLS   := bin/gotestsum bin/golangci-lint
GO      ?= go

.PHONY: help build demo test test-long lint bench fuzz run clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## build papyra-sink and papyra-ctl into bin/
	$(GO) build -o bin/ ./cmd/papyra-sink ./cmd/papyra-ctl

demo: ## a real actor system's records through NATS into a file, and what the tools say of it
	@integration/demo/demo.sh

run: build ## start a sink with its own broker on 127.0.0.1:4222
	bin/papyra-sink

test: bin/gotestsum ## everything, with the race detector; installs what the tests need
	@.ci/test-deps
	bin/gotestsum --format pkgname -- -race -timeout 20m ./...
	@# The race detector allocates, so these say nothing under it.
	bin/gotestsum --format pkgname -- -run 'Alloc' . ./publisher ./sink
	@for m in $(MODULES); do (cd $$m && $(CURDIR)/bin/gotestsum --format pkgname -- -race -timeout 10m ./...) || exit 1; done

test-long: bin/gotestsum ## the big numbers: more faults, more flips, more time
	@.ci/test-deps
	PAPYRA_LONG=1 bin/gotestsum --format pkgname -- -timeout 120m ./...

lint: bin/golangci-lint ## gofmt, vet, staticcheck and more
	bin/golangci-lint run ./...
	@for m in $(MODULES); do (cd $$m && $(CURDIR)/bin/golangci-lint run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

bench: ## the numbers of the README, side by side in one run of ten minutes; BENCH="-part calls" chooses
	$(GO) run ./integration/bench $(BENCH)
ifndef BENCH
	@cd integration/peers && $(GO) run .
endif

fuzz: ## every fuzz target for half a minute
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime 30s $$pkg || exit 1; \
		done; \
	done

clean: ## remove what was built; data stays
	rm -rf bin

$(TOOLS): .ci/tools/go.mod .ci/tools/go.sum
	cd .ci/tools && $(GO) build -o $(CURDIR)/bin/ gotest.tools/gotestsum github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $(TOOLS)
