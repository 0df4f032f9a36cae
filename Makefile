# Everything that a developer does with stepd. `make help` lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PLUGINS := copyfiles compress dumptables retain
TOOLS   := $(CURDIR)/.tools

PROTOC_GEN_GO      := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_GO_GRPC := google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
STATICCHECK        := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Debian packages that tests and `make generate` need, by the program that
# tells whether they are there.
TEST_DEBS     := sqlite3:sqlite3 zstd:zstd age:age mariadb-install-db:mariadb-server mariadb-dump:mariadb-client pg_createcluster:postgresql pg_dump:postgresql-client
GENERATE_DEBS := protoc:protobuf-compiler

# install_debs installs what is missing of a list of program:package. No server
# that comes with a package is started: tests start their own.
define install_debs
	missing=(); for pair in $(1); do command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  echo "installing $${missing[*]}"; \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  policy=/usr/sbin/policy-rc.d; \
	  if [ ! -e $$policy ]; then \
	    printf '#!/bin/sh\nexit 101\n' | $$sudo tee $$policy >/dev/null; $$sudo chmod 755 $$policy; trap "$$sudo rm -f $$policy" EXIT; \
	  fi; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi
endef

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the daemon and the plugins into ./bin
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/stepd ./daemon/cmd/stepd
	@mkdir -p bin/plugins
	@for p in $(PLUGINS); do go build -trimpath -ldflags "-s -w" -o bin/plugins/$$p ./plugins/$$p; done
	@chmod -R go-w bin # whatever the umask: the daemon runs no plugin that others may write

.PHONY: demo
demo: build ## Back up a shop with progress, restore it, compare both
	@examples/backup/demo.sh

.PHONY: deps
deps:
	@$(call install_debs,$(TEST_DEBS))

.PHONY: test
test: deps ## Install what the tests need, then run all of them
	go test -race -timeout 20m $(TESTFLAGS) ./...
	go test -timeout 20m -run 'DueTimes' $(TESTFLAGS) ./daemon/internal/schedule
	go test -timeout 20m -run 'ModelOfTheAPI' $(TESTFLAGS) ./daemon/internal/app

.PHONY: race
race: deps ## Run the tests of what is concurrent many times over
	go test -race -count 5 -timeout 60m ./sdk/... ./daemon/internal/engine ./daemon/internal/store ./daemon/internal/pluginhost ./daemon/internal/api/... ./daemon/internal/runlog

.PHONY: lint
lint: ## Check format, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: generate
generate: ## Make the protocol's code anew
	@$(call install_debs,$(GENERATE_DEBS))
	@$(call protoc,.)

.PHONY: verify
verify: ## Fail when generated code or go.mod is stale
	@$(call install_debs,$(GENERATE_DEBS))
	@rm -rf $(TOOLS)/verify && mkdir -p $(TOOLS)/verify && $(call protoc,$(TOOLS)/verify)
	@diff -r -x '*.proto' -x doc.go sdk/proto $(TOOLS)/verify/sdk/proto || { echo "the generated code is stale: run make generate"; exit 1; }
	go mod tidy -diff

# protoc writes the generated code below the given directory.
define protoc
	GOBIN=$(TOOLS)/bin go install $(PROTOC_GEN_GO); GOBIN=$(TOOLS)/bin go install $(PROTOC_GEN_GO_GRPC); \
	PATH=$(TOOLS)/bin:$$PATH protoc -I sdk/proto --go_out=$(1) --go_opt=module=github.com/stepd/stepd \
	  --go-grpc_out=$(1) --go-grpc_opt=module=github.com/stepd/stepd sdk/proto/stepd/v1/*.proto
endef

.PHONY: bench
bench: build ## Measure, and print ratios of one run
	@go build -trimpath -o bin/plugins/noop ./plugins/noop
	go run ./daemon/internal/bench

.PHONY: clean
clean: ## Remove what was built and the state in ./data
	rm -rf bin .tools
	git clean -fdXq data examples
