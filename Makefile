# make help lists the targets.

# Modules of their own, for dependencies that stay out of the root.
MODULES := integration/protoactor integration/peers integration/thirdparty
TOOLS   := bin/gotestsum bin/golangci-lint
GO      ?= go

# Where make build, install and release write to.
BIN     ?= bin
PREFIX  ?= /usr/local
DESTDIR ?=

# What both programs say of their commit; internal/version has the number. The
# date is the commit's, so that the same commit gives the same bytes. Where git
# is missing, give both: make release COMMIT=... DATE=...
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)$(shell [ -z "$$(git status --porcelain 2>/dev/null)" ] || echo -dirty)
DATE   ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
STAMP   = -X github.com/papyra/papyra/internal/version.commit=$(COMMIT) -X github.com/papyra/papyra/internal/version.date=$(DATE)

# The library of the command lines can write documentation, which the programs
# never do.
TAGS := urfave_cli_no_docs

# Tests, and all that they build, with the race detector, so that nothing is
# compiled twice; without tables for debuggers, which traces do not need; without the
# second that the detector waits at the end of each program; and without vet, which is
# a part of make lint. What is compiled is compiled before the first test: the compiler
# takes a quarter less processor time if it collects its garbage seldom, and the tests
# measure memory, so theirs stays as it is.
RACE := GOFLAGS='-race -gcflags=all=-dwarf=false $(GOFLAGS)' GORACE='atexit_sleep_ms=10 $(GORACE)'
COMPILE := GOGC=400 $(RACE) $(GO) list -export -test ./... >/dev/null

.PHONY: help build share install release release-check demo test test-long lint bench fuzz run clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## build papyra-sink and papyra-ctl into bin/
	$(GO) build -tags $(TAGS) -ldflags '$(STAMP)' -o $(BIN)/ ./cmd/papyra-sink ./cmd/papyra-ctl

share: ## write the manual pages and completions into bin/share/
	@mkdir -p $(BIN)/share/man/man1 $(BIN)/share/bash-completion/completions $(BIN)/share/zsh/site-functions
	$(GO) run -tags $(TAGS),manual ./cmd/papyra-ctl >$(BIN)/share/man/man1/papyra-ctl.1
	$(GO) run -tags $(TAGS),manual ./cmd/papyra-sink >$(BIN)/share/man/man1/papyra-sink.1
	$(GO) run -tags $(TAGS) ./cmd/papyra-ctl completion bash >$(BIN)/share/bash-completion/completions/papyra-ctl
	$(GO) run -tags $(TAGS) ./cmd/papyra-ctl completion zsh >$(BIN)/share/zsh/site-functions/_papyra-ctl

install: build share ## install both programs, manual pages and completions below PREFIX (/usr/local)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BIN)/papyra-sink $(BIN)/papyra-ctl
	@for dir in man/man1 bash-completion/completions zsh/site-functions; do \
		install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/$$dir $(BIN)/share/$$dir/* || exit 1; \
	done

release: share bin/sbom ## what is published, the same bytes for the same commit: archives, SBOMs and SHA256SUMS in dist/
	@GO='$(GO)' TAGS='$(TAGS)' STAMP='$(STAMP)' COMMIT='$(COMMIT)' DATE='$(DATE)' SHARE='$(BIN)/share' .ci/release

release-check: ## make the release of the last commit in two clones and compare; takes minutes
	@.ci/release-check

demo: ## a real actor system's records through NATS into a file, and what the tools say of it
	@integration/demo/demo.sh

run: build ## start a sink with its own broker on 127.0.0.1:4222
	bin/papyra-sink

test: bin/gotestsum ## everything, with the race detector; installs what the tests need
	@.ci/test-deps
	-@$(COMPILE)
	$(RACE) bin/gotestsum --format pkgname -- -vet=off -timeout 20m ./...
	@for m in $(MODULES); do (cd $$m && { $(COMPILE) || true; } && $(RACE) $(CURDIR)/bin/gotestsum --format pkgname -- -vet=off -timeout 10m ./...) || exit 1; done

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
	rm -rf bin dist

bin/sbom: .ci/sbom/go.mod .ci/sbom/go.sum .ci/sbom/main.go
	cd .ci/sbom && $(GO) build -o $(CURDIR)/bin/sbom .
	@touch $@

$(TOOLS): .ci/tools/go.mod .ci/tools/go.sum
	cd .ci/tools && $(GO) build -o $(CURDIR)/bin/ gotest.tools/gotestsum github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $(TOOLS)
