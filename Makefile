# entrepot: everything a person types. `make help` lists it.

# Pinned tools, run by the Go command itself and checked by its checksum database.
GOLANGCI_LINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
STATICCHECK   = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s
FUZZ     ?=
SABOTAGE ?=
BENCH    ?=
E2E      ?= .

CLIENTS = $(or $(ENTREPOT_CLIENTS),$(HOME)/.cache/entrepot-clients)

export CGO_ENABLED = 0

.DEFAULT_GOAL := help

## build: the static binary, ./bin/entrepot
.PHONY: build
build:
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/entrepot ./cmd/entrepot

## run: build, then serve with no configuration at all (127.0.0.1:8090, ./entrepot-data)
.PHONY: run
run: build
	exec ./bin/entrepot serve

## test: every unit test; needs nothing but Go
.PHONY: test
test:
	go test ./...

## race: the same under the race detector (needs a C compiler)
.PHONY: race
race:
	CGO_ENABLED=1 go test -race ./...

## clients: build the real clients for e2e with cargo, once per machine (30 minutes)
.PHONY: clients
clients:
	e2e/clients.sh

## e2e: the user stories with the real clients; E2E=regexp picks some
.PHONY: e2e
e2e: build
	ENTREPOT_BIN=$(CURDIR)/bin/entrepot ENTREPOT_VERSION='$(VERSION)' ENTREPOT_CLIENTS=$(CLIENTS) \
		go test -tags e2e -count=1 -parallel 6 -timeout 20m -run '$(E2E)' ./e2e

## desync: requests that two programs could read differently, to us alone and behind nginx and HAProxy
.PHONY: desync
desync:
	go test -tags e2e -count=1 -run '^TestDesync' ./proxy

## hostile: HOSTILE=10000 hostile connections beside honest clients, few descriptors, many bodies; prints figures
.PHONY: hostile
hostile: build
	HOSTILE=$(or $(HOSTILE),10000) ENTREPOT_BIN=$(CURDIR)/bin/entrepot \
		go test -tags e2e -count=1 -timeout 20m -v -run '^(TestHostile|TestSlowReaders|TestDescriptors|TestTooFewDescriptors|TestSlowHTTP|TestManyBodies)$$' ./e2e

## fuzz: each fuzz target for FUZZTIME (30s); FUZZ=regexp picks some
.PHONY: fuzz
fuzz:
	go run ./internal/fuzz -time $(FUZZTIME) -only '$(FUZZ)'

## sabotage: break one promise at a time and see a test fail (7 minutes on 2 idle cores, 5 times that on busy ones); SABOTAGE=regexp picks, SABOTAGE=short is ten
.PHONY: sabotage
sabotage:
	go run ./internal/sabotage -jobs 2 -only '$(SABOTAGE)'

## sim: the deterministic simulation: SEEDS=n many seeds from FIRST on, or SEED=n one, with its story
.PHONY: sim
sim:
	SIM_SEEDS=$(or $(SEEDS),10000) SIM_FIRST=$(FIRST) SIM_SEED=$(SEED) go test -count=1 -timeout 24h -v -run TestSimulation$$ ./internal/sim

## drills: lose a registry and bring it back from its mirror: DRILLS=n times from FIRST on, or DRILL=n once, with its story
.PHONY: drills
drills:
	DRILLS=$(or $(DRILLS),1000) DRILLS_FIRST=$(FIRST) DRILL=$(DRILL) go test -count=1 -timeout 24h -v -run TestDrills$$ ./internal/sim

## crash: end the server in every way and judge what is left; POINTS=n for a long run, SEED=n to repeat one
.PHONY: crash
crash: bin/crash bin/entrepot-failpoints
	bin/crash $(if $(POINTS),-points $(POINTS)) $(if $(SEED),-seed $(SEED)) $(or $(SUITE),kill flip twice behind)

## crash-root: what needs root: full disks, power cuts, errors of the kernel
.PHONY: crash-root
crash-root: bin/crash bin/entrepot-failpoints
	bin/crash $(if $(POINTS),-points $(POINTS)) $(if $(SEED),-seed $(SEED)) $(or $(SUITE),full readonly power kernel)

.PHONY: bin/crash bin/entrepot-failpoints
bin/crash:
	go build -trimpath -o $@ ./internal/crash
bin/entrepot-failpoints:
	go build -trimpath -tags failpoints -o $@ ./cmd/entrepot

## bench: ours beside the reference in one run; BENCH='-only reads' and other flags of internal/bench
.PHONY: bench
bench: build
	cargo install --quiet --path internal/bench/peer --root $(CLIENTS)/bench-peer --target-dir $(CLIENTS)/peer-target
	go run ./internal/bench $(BENCH)

## release: static binaries with lists of what is in them and checksums, in ./dist
.PHONY: release
release:
	go run ./internal/release make -version '$(VERSION)' -o dist

## repro: build twice, in two folders, and compare the bytes
.PHONY: repro
repro:
	go run ./internal/release repro -version '$(VERSION)'

## fmt: format the code
.PHONY: fmt
fmt:
	gofmt -w .

## vet: go vet, what is behind the tag e2e included, and what gofmt would change
.PHONY: vet
vet:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags e2e ./e2e ./proxy

## tidy: fail if go.mod or go.sum is not what the code needs
.PHONY: tidy
tidy:
	go mod tidy -diff

## lint: golangci-lint and staticcheck at their pinned versions
.PHONY: lint
lint:
	$(GOLANGCI_LINT) run ./...
	$(GOLANGCI_LINT) run --build-tags e2e ./e2e ./proxy
	$(STATICCHECK) -tags e2e ./...

## check: what must pass before a change is handed in: vet, tidy, lint, test
.PHONY: check
check: vet tidy lint test

## help: this list
.PHONY: help
help:
	@sed -nE 's/^## ([a-z0-9]+): (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'
