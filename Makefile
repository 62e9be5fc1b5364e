# Sango: the commands of everyday work. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

GO       ?= go
TOOLS    := .cache/tools
PKG      ?= ./...
FUZZTIME ?= 10m
ROUNDS   ?= 50
COUNT    ?= 6
DIR      ?=
export GOFLAGS ?= -buildvcs=false

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sango
	@mkdir -p bin
	$(GO) build -o bin/sango ./cmd/sango

.PHONY: demo
demo: build ## serve a 1 GiB volume over iSCSI on this machine, and prove it with a client (DIR=... keeps it)
	@$(GO) run ./test/demo -sango bin/sango -dir '$(DIR)'

.PHONY: test
test: ## everything in its short form, on a fresh machine too; installs Debian packages when run as root
	@test/all

.PHONY: deps
deps: ## install the Debian packages that the tests use as peers (as root)
	@test/deps

.PHONY: check
check: vet lint ## what to run before a commit: vet, lint, unit tests (which wait much: more packages at a time)
	$(GO) test -p $$((2 * $$(nproc))) -parallel 4 $(PKG)

.PHONY: vet
vet:
	$(GO) vet $(PKG)
	$(GO) vet -tags invariants $(PKG)
	$(GO) vet -tags defects $(PKG)
	$(GO) vet -tags nextversion $(PKG)

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## linters, the import table and formatting
	$(TOOLS)/golangci-lint run $(PKG)

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## format the tree
	$(TOOLS)/golangci-lint fmt $(PKG)

.PHONY: unit
unit: ## unit tests (PKG=./internal/lun/... for a part)
	$(GO) test -timeout 20m $(PKG)

.PHONY: race
race: ## unit tests under the race detector, with buffers poisoned on release (SKIP=REGEXP leaves some out)
	$(GO) test -race -tags invariants -timeout 40m $(if $(SKIP),-skip '$(SKIP)') $(PKG)

.PHONY: histories
histories: ## 10,000 random histories of the multipath engine against a model, from SEED (1)
	$(GO) test -count=1 -v -run 'Histories' ./internal/multipath -histories 10000 -seed $(or $(SEED),1)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10m) each
	@test/fuzz $(FUZZTIME)

.PHONY: bench
bench: build ## the speed beside tgt, libiscsi and other NBD servers, some 20 minutes on a quiet machine, into docs/bench (as root)
	@test/deps
	$(GO) run ./test/perf -sango bin/sango $(if $(ONLY),-only '$(ONLY)') $(if $(SHORT),-short)

.PHONY: microbench
microbench: ## Go benchmarks, COUNT (6) runs each, into .cache/bench; compared with the last run, or with the commit BASE
	@test/microbench $(COUNT)

.PHONY: conformance
conformance: build ## all 230 tests of iscsi-test-cu on every kind of LUN (TEST=Family.Test for one, with its output; FAR=1 through a gateway that relays)
	$(GO) run ./test/conformance -sango bin/sango $(if $(FAR),-far) $(if $(TEST),-v $(TEST))

.PHONY: clients
clients: build ## qemu-img, qemu-io and the libiscsi tools against a running target
	$(GO) run ./test/clients -sango bin/sango

.PHONY: nbd
nbd: ## nbdinfo, nbdcopy, qemu-img, qemu-io, fio and nbd-client against the NBD server
	$(GO) run ./test/nbd

.PHONY: tgt
tgt: ## our initiator against tgtd, a target that is not ours (as root)
	$(GO) run ./test/tgt

.PHONY: scale
scale: ## a cluster of 100 gateways and 10,000 volumes that loses 10 of them, in simulated time
	$(GO) test -v -count 1 -timeout 20m -run '^TestScale$$' ./internal/cluster -gateways 100 -volumes 10000

.PHONY: spin
spin: ## the Promela models of ownership and of fences, checked by spin
	$(GO) run ./test/spin

.PHONY: etcd
etcd: build ## three gateways whose metadata is in three etcd servers of their own, the leader killed
	$(GO) run ./test/etcd -sango bin/sango

.PHONY: chaos
chaos: build ## hosts at work while gateways are killed and stopped, networks cut, disks stuck and full (as root; SEED, MINUTES=3, ARGS)
	@test/deps
	$(GO) run $(if $(findstring -defects,$(ARGS)),-tags defects) ./test/chaos -sango bin/sango $(if $(SEED),-seed $(SEED)) $(if $(MINUTES),-minutes $(MINUTES)) $(ARGS)

.PHONY: failover
failover: build ## how long a host's writes stand still when gateways go, RUNS (20) of each case, into TABLE (docs/bench/FAILOVER.md) (as root)
	@test/deps
	$(GO) run ./test/chaos -sango bin/sango -failover $(if $(RUNS),-runs $(RUNS)) -table $(or $(TABLE),docs/bench/FAILOVER.md) $(ARGS)

.PHONY: pingpong
pingpong: build ## two hosts that insist on different gateways for one volume: it does not move, and the detour is fast enough
	$(GO) run ./test/pingpong -sango bin/sango $(if $(SHORT),-rounds 3 -least 0.25)

.PHONY: upgrade
upgrade: build ## three gateways are upgraded one after the other, and set back, under a load that is verified
	$(GO) run ./test/upgrade -sango bin/sango

.PHONY: drill
drill: build ## the story of a fail-over, in a quarter of a minute
	bin/sango demo --drill

.PHONY: crash
crash: build ## kill -9 under verified load, ROUNDS (50) times
	$(GO) run ./test/crash -sango bin/sango -rounds $(ROUNDS)

.PHONY: vm
vm: build ## a real Linux kernel (in QEMU) uses Sango in every way (SCENARIO=attach-ublk for one, SHORT=1 for less)
	$(GO) run ./test/vm -sango bin/sango $(if $(SCENARIO),-scenario $(SCENARIO)) $(if $(SHORT),-short -size 6M)

.PHONY: vuln
vuln: $(TOOLS)/govulncheck ## known vulnerabilities in what is built in
	$(TOOLS)/govulncheck ./...

.PHONY: generate
generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-connect-go ## the code made from the service definition
	PATH="$(CURDIR)/$(TOOLS):$$PATH" $(GO) generate ./...

.PHONY: tools
tools: $(addprefix $(TOOLS)/,buf protoc-gen-go protoc-gen-connect-go golangci-lint gofumpt benchstat govulncheck) ## build the pinned tools

.PHONY: clean
clean: ## remove what was built (downloads and the guest image stay in .cache)
	rm -rf bin .cache/bench

# The tools are built on demand, at the versions that tools/go.mod and tools/buf/go.mod pin.

$(TOOLS)/buf: tools/buf/go.mod
	@mkdir -p $(TOOLS)
	cd tools/buf && $(GO) build -o ../../$@ github.com/bufbuild/buf/cmd/buf

$(TOOLS)/%: tools/go.mod
	@mkdir -p $(TOOLS)
	cd tools && $(GO) build -o ../$@ "$$(awk '$$1 ~ "/$*$$" {print $$1; exit}' go.mod)"
