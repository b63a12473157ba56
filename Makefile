# Covet: see README.md. `make help` lists what people use.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
BIN     := $(CURDIR)/bin
TOOLS   := $(CURDIR)/.cache/bin
GO      ?= go

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## build covetd, covetctl and the example shop into bin/
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/covetd ./cmd/covetctl ./examples/shop

.PHONY: demo
demo: build ## run the demonstration; without a terminal it plays by itself
	@$(GO) run ./examples/demo --bin $(BIN)

.PHONY: demo-k8s
demo-k8s: build kube ## the same on a Kubernetes cluster of its own, with real pods where the machine lets it
	@$(GO) run ./examples/demok8s --bin $(BIN)

.PHONY: setup
setup: ## install what the tests need and this machine lacks (apt)
	@scripts/setup

.PHONY: kube
kube: ## build the Kubernetes cluster of the tests, once for this machine (about ten minutes)
	@$(GO) run ./test/kubetest/build >/dev/null

.PHONY: test
test: setup build kube ## run every test, with the race detector
	@COVET_BIN=$(BIN) $(GO) test -race -shuffle=on -timeout 40m ./...

.PHONY: bench
bench: build ## run the benchmarks; prints ratios against peers
	@scripts/bench $(BIN)

.PHONY: bench-backup
bench-backup: setup build ## measure backup, restore and WAL against pgBackRest, barman-cloud and pg_basebackup
	@{ command -v pgbackrest && command -v barman-cloud-backup && command -v zstd; } >/dev/null || scripts/install pgbackrest barman-cli-cloud zstd
	@COVET_BIN=$(BIN) $(GO) test -run '^$$' -bench BenchmarkBackup -benchtime 1x -timeout 60m ./bench/backup | grep --line-buffered -E '^(bench|#|ok|FAIL|---|panic|    )'

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/govulncheck ## check formatting, lint, import directions and known vulnerabilities
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(TOOLS)/golangci-lint run ./...
	@scripts/vulncheck $(TOOLS)/govulncheck

$(TOOLS)/golangci-lint: tools/go.sum
	@echo "building golangci-lint (a minute or two, once)"
	@mkdir -p $(TOOLS) && cd tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/govulncheck: tools/go.sum
	@mkdir -p $(TOOLS) && cd tools && $(GO) build -o $@ golang.org/x/vuln/cmd/govulncheck

.PHONY: fmt
fmt: ## format the code
	@gofmt -w $$(git ls-files '*.go')

.PHONY: clean
clean: ## remove what was built
	@rm -rf $(BIN) .cache
