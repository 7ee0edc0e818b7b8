# Two commands for a newcomer: `make demo` and `make test`. Everything else is listed by `make help`.

CARGO ?= cargo
GO ?= go
# The stock Azure plugin to compare with in `make bench`; empty: only ours is measured.
STOCK_PLUGIN ?=
# azuredisk-csi-driver, v1.34 or newer, for the tests of CSI snapshots; empty: only with what stands in for it.
AZUREDISK_PLUGIN ?=
export AZUREDISK_PLUGIN

# Of images: what builds them, where they go, and what is in them.
DOCKER ?= docker
REGISTRY ?=
VERSION := $(shell sed -n 's/^appVersion: //p' deploy/chart/Chart.yaml)
ARCHITECTURE := $(shell dpkg --print-architecture)
IMAGES := velero-plugin-stillpoint stillpoint-agent stillpoint-gate

# Rounds of the fault campaign, the seed of the first (each has the next), nodes at once, and one fault alone.
N ?= 1000
SEED ?= 1
LANES ?= 3
ONLY ?=

# Debian packages, by the program that needs them.
PACKAGES := mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs fsfreeze:util-linux mount:mount \
	ip:iproute2 readelf:binutils cc:gcc make:make node:nodejs npm:npm pg_ctlcluster:postgresql \
	mmdebstrap:mmdebstrap buildah:buildah podman:podman runc:runc
# What npm writes last: older than the lock, or missing, it is to be installed.
AZURITE := tests/azurite/node_modules/.package-lock.json
MISSING = $(strip $(foreach pair,$(PACKAGES),$(if $(shell command -v $(firstword $(subst :, ,$(pair)))),,$(lastword $(subst :, ,$(pair))))))

.PHONY: help setup packages demo test e2e bench chaos lint release images clean

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: packages $(AZURITE) ## what the machine lacks: Debian packages (as root), Azurite; and says what it cannot get

packages:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs (1.95 or newer)"; exit 1; }
ifneq ($(MISSING),)
	@test "$$(id -u)" = 0 || { echo "Debian packages are missing; as root: apt-get install $(MISSING)"; exit 1; }
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(MISSING)
endif

$(AZURITE): tests/azurite/package-lock.json | packages
	@echo "Installing Azurite, the blob server of the tests…"
	@npm ci --prefix $(<D) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup ## snapshots of two busy disks, with and without a freeze, restored into another zone; a backup in a blob server
	@test "$$(id -u)" = 0 || { echo "the demo mounts filesystems: run it as root (sudo make demo)"; exit 1; }
	@echo "Building…"
	@$(CARGO) build --quiet --workspace --bins
	@target/debug/demo

test: release ## all tests: unit, real filesystems, whole system, Velero's own client code, images
	@test "$$(id -u)" = 0 || { echo "the tests freeze real filesystems: run them as root (sudo make test)"; exit 1; }
	@command -v $(GO) >/dev/null || { echo "Go is missing, for Velero's own client code: Go 1.26 or newer, https://go.dev/dl"; exit 1; }
	$(CARGO) test --workspace
	tests/velero/run

e2e: setup ## backup, loss and restore with the real Velero on a real Kubernetes API; a part of `make test`
	@test "$$(id -u)" = 0 || { echo "the tests freeze real filesystems: run them as root (sudo make e2e)"; exit 1; }
	@command -v $(GO) >/dev/null || { echo "Go is missing, for Kubernetes and Velero: Go 1.26 or newer, https://go.dev/dl"; exit 1; }
	$(CARGO) test --package stillpoint-e2e

bench: setup release ## how long it takes, beside the plugin that STOCK_PLUGIN=PATH names; JSON in target/bench
	@test "$$(id -u)" = 0 || { echo "the bench freezes real filesystems: run it as root (sudo make bench)"; exit 1; }
	$(CARGO) build --profile tools --package stillpoint-system --package stillpoint-e2e --bins
	@STOCK_PLUGIN=$(STOCK_PLUGIN) target/tools/bench
	@STOCK_PLUGIN=$(STOCK_PLUGIN) target/tools/bench-cluster

chaos: setup ## faults at random moments between freeze and thaw: N=1000 rounds from SEED=1, with ONLY=FAULT that one
	@test "$$(id -u)" = 0 || { echo "the campaign freezes real filesystems: run it as root (sudo make chaos)"; exit 1; }
	$(CARGO) build --quiet --workspace --bins
	@target/debug/chaos --rounds $(N) --seed $(SEED) --lanes $(LANES) $(if $(ONLY),--only $(ONLY))

release: setup ## the programs as they are shipped, in target/release and for images; the plugin tried as in Velero's image
	$(CARGO) build --release --package stillpoint-plugin --package stillpoint-agent
	tests/image/check-program target/release/velero-plugin-stillpoint
	install -D --target-directory=target/image/$(ARCHITECTURE) $(addprefix target/release/,$(IMAGES))

images: release ## container images with DOCKER (docker), as REGISTRY/NAME:VERSION
	@test -n "$(REGISTRY)" || { echo "REGISTRY is empty: where images go, as in make images REGISTRY=registry.example.com/stillpoint"; exit 1; }
	for image in $(IMAGES); do \
		$(DOCKER) build --file deploy/Dockerfile --target $$image --tag $(REGISTRY)/$$image:$(VERSION) target/image || exit 1; \
	done

lint: ## format, clippy, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; \
	else echo "NOT RUN: cargo deny, which is not installed (cargo install cargo-deny --locked)"; fi

clean: ## everything that was built
	$(CARGO) clean
