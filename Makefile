# Targets are documented by the ## comments; `make` alone prints them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
# A vendor directory is used when it is there and current; a stale one is refused by go with the file that differs.
export GOFLAGS += -buildvcs=false
include controlplane/Makefile.inc
GO      ?= go
LDFLAGS := -s -w -X github.com/virtual-kubelet/vic/internal/version.Version=$(VERSION)

GUEST_IMAGE := bin/guest/manifest.json
UNIT_PACKAGES = $(shell $(GO) list ./... | grep -v -e /mocks/)

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Build

.PHONY: setup
setup: ## Check the machine; as root install what is missing with apt
	@build/setup.sh

.PHONY: build
build: setup bin/vic bin/vic-controlplane bin/kubectl guest-image bin/hello.tar ## Build everything into bin/

.PHONY: run
run: build ## Build what is needed, then start a cluster of one node on this machine
	bin/vic up $(ARGS)

# go build finds out by itself whether there is anything to do.
.PHONY: bin/vic bin/vic-guest bin/guest-image bin/hello bin/hello-image bin/vic-controlplane
bin/vic:
	$(GO) build -ldflags '$(LDFLAGS)' -o $@ ./cmd/vic

bin/vic-guest:
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o $@ ./cmd/vic-guest

bin/guest-image:
	$(GO) build -o $@ ./build/cmd/guest-image

bin/hello:
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $@ ./examples/hello

bin/hello-image:
	$(GO) build -o $@ ./build/cmd/hello-image

bin/hello.tar: bin/hello bin/hello-image
	bin/hello-image --server bin/hello --busybox "$$(command -v busybox)" -o $@

bin/vic-controlplane:
	@[ -e $@ ] || echo "Compiling Kubernetes (API server, scheduler, controller-manager, etcd, kubectl): minutes the first time, seconds later."
	cd controlplane && $(GO) build -ldflags '$(CONTROLPLANE_LDFLAGS)' -o ../$@ ./cmd/vic-controlplane

bin/kubectl: bin/vic-controlplane
	ln -sf vic-controlplane $@

.PHONY: guest-image
guest-image: bin/vic-guest bin/guest-image ## Build the kernel, the initrd and the ISO that pod VMs boot
	bin/guest-image --guest bin/vic-guest --out bin/guest

# Linked statically, so that the image needs nothing else; other packages are compiled for it than for bin/vic.
.PHONY: image
image: ## Build bin/vic-image.tar, the image that the Helm chart runs
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o bin/vic-static ./cmd/vic
	$(GO) run ./build/cmd/vic-image -vic bin/vic-static -name vic:$(VERSION) -o bin/vic-image.tar

##@ Test

.PHONY: test
test: build ## Run every test: unit, real QEMU, and end to end; prints the time of each suite
	@build/test.sh

# What the suites need. make test builds once and has each of them build nothing.
SUITE_NEEDS := build

# Lint vets already.
TEST = $(GO) test -vet=off

.PHONY: test-unit
test-unit: setup ## Unit tests with the race detector
	$(TEST) -race -shuffle=on $(UNIT_PACKAGES)
	cd tools/dashboard && $(TEST) ./...

.PHONY: test-controlplane
test-controlplane: $(SUITE_NEEDS) ## The control plane's own tests
	cd controlplane && $(TEST) -race -shuffle=on $(CONTROLPLANE_UNIT_PACKAGES)
	cd controlplane && VIC_CONTROLPLANE_BINARY=$(CURDIR)/bin/vic-controlplane $(TEST) -count=1 $(CONTROLPLANE_E2E_PACKAGES)

# Those with tests that leave out the race detector, which takes the simulator's races for ours.
NO_RACE_PACKAGES = $(shell grep -rl --include='*_test.go' '^//go:build .*!race\b' . | xargs -n1 dirname | sort -u)

.PHONY: test-vsphere
test-vsphere: setup ## vSphere on a simulated vCenter: contract suites and faults
	$(TEST) -shuffle=on -timeout 20m -count=1 $(NO_RACE_PACKAGES)

# Those with tests on QEMU. The others of their kind have been tested by test-unit.
QEMU_PACKAGES = $(shell grep -rl --include='*_test.go' '^//go:build .*\bqemu\b' . | xargs -n1 dirname | sort -u)

.PHONY: test-qemu
test-qemu: $(SUITE_NEEDS) ## Contract suites and the guest on real QEMU
	$(TEST) -tags qemu -timeout 30m -count=1 -parallel 3 $(QEMU_PACKAGES)

.PHONY: test-e2e
test-e2e: $(SUITE_NEEDS) bin/helm ## A real API server, scheduler, node and QEMU
	$(TEST) -tags e2e -timeout 20m -count=1 ./provider
	$(TEST) -tags e2e -timeout 60m -count=1 -parallel 4 -v ./test/e2e

.PHONY: test-e2e-vsphere
test-e2e-vsphere: build bin/helm ## All end-to-end tests with pods on a simulated vCenter
	$(TEST) -tags e2e -timeout 90m -count=1 -parallel 4 -v ./test/e2e -vsphere

# What is fuzzed, as package:target. Unit tests run what has been found; test-long looks for more. A find lands in the package's testdata/fuzz: commit it, and the fix with it.
FUZZTIME ?= 1m
FUZZ_TARGETS := \
	./persona/flatten:FuzzLayer \
	./persona/flatten:FuzzTree \
	./persona:FuzzManifest \
	./persona:FuzzConfig \
	./persona:FuzzArchive \
	./persona:FuzzStoreIndex \
	./persona:FuzzBlob \
	./persona:FuzzAnswers \
	./persona:FuzzName \
	./persona/keyring:FuzzConfig \
	./operations/images/credentialprovider:FuzzResponse \
	./portlayer/podvm/rundir:FuzzReadLog \
	./portlayer/podvm/guestlink:FuzzCheck \
	./portlayer/podvm/guestlink:FuzzSnapshot \
	./portlayer/podvm/guestlink:FuzzPings \
	./portlayer/podvm/guestlink:FuzzProcess \
	./portlayer/podvm/guestlink:FuzzText \
	./guest/wire:FuzzReadFrame \
	./guest/wire:FuzzConnect \
	./guest/wire:FuzzAccept

.PHONY: test-fuzz
test-fuzz: setup ## Fuzz every parser of what others wrote, FUZZTIME (1m) each
	@build/fuzz.sh $(FUZZTIME) $(FUZZ_TARGETS)

.PHONY: test-long
test-long: build ## Tests that take long (chaos, large files, long waits); PACKAGES chooses some
	@build/test-long.sh $(PACKAGES)
	$(if $(PACKAGES),,$(MAKE) --no-print-directory test-fuzz)
	$(if $(PACKAGES),,$(MAKE) --no-print-directory test-e2e-vsphere)

.PHONY: bench
bench: build ## Benchmarks
	$(GO) test -tags e2e -run '^$$' -bench . -benchmem ./persona/... ./guest/... ./portlayer/... ./operations/... ./provider

##@ Check

.PHONY: check
check: lint test verify ## Lint, test, verify generated files

.PHONY: lint
lint: bin/golangci-lint bin/helm ## Lint all modules and the Helm chart
	bin/helm lint --quiet --strict charts/vic --set image.repository=vic --set 'rbac.namespaces={apps}' --kube-version $(KUBERNETES_VERSION:v%=%)
	bin/golangci-lint run ./...
	cd controlplane && ../bin/golangci-lint run ./...
	cd tools/dashboard && ../../bin/golangci-lint run ./...

.PHONY: fmt
fmt: bin/golangci-lint ## Format
	bin/golangci-lint fmt ./...

.PHONY: tools
tools: bin/golangci-lint bin/mockery bin/controller-gen bin/helm ## Build the pinned tools into bin/

bin/golangci-lint: tools/go.mod
	cd tools && $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/mockery: tools/go.mod
	cd tools && $(GO) build -o ../$@ github.com/vektra/mockery/v2

bin/controller-gen: tools/go.mod
	cd tools && $(GO) build -o ../$@ sigs.k8s.io/controller-tools/cmd/controller-gen

bin/helm: tools/go.mod
	cd tools && $(GO) build -o ../$@ helm.sh/helm/v3/cmd/helm

.PHONY: generate
generate: bin/mockery bin/controller-gen ## Make mocks, deep copies, CRDs and generated documents
	rm -rf mocks
	bin/mockery --log-level warn
	$(GO) generate ./...

.PHONY: tidy
tidy: ## go mod tidy in every module
	for m in . controlplane tools tools/dashboard; do (cd $$m && $(GO) mod tidy) || exit 1; done

.PHONY: verify
verify: generate tidy ## Fail when generated files or module files are not what is committed
	git diff --exit-code -- . ':!*.tar'
	@test -z "$$(git status --porcelain)" || { git status --short; echo "verify: the files above are not committed"; exit 1; }

.PHONY: vendor
vendor: ## Make vendor/ in every module (ignored by git)
	for m in . controlplane tools tools/dashboard; do (cd $$m && $(GO) mod vendor) || exit 1; done

.PHONY: clean
clean: ## Remove bin/ and vendor/
	rm -rf bin vendor controlplane/vendor tools/vendor tools/dashboard/vendor
