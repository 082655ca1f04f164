# Two commands first: `make demo` and `make test`. Each brings the machine to where it works.

SWIFT ?= swift
SECONDS ?= 30
# Of all targets together, unless SECONDS is given.
FUZZ_SECONDS = $(if $(filter-out file,$(origin SECONDS)),$(SECONDS),3600)
VENV := .venv
# What nobody calls stays out of the file, what is equal is in it once, and nobody outside looks its symbols up: 4 MB.
SMALL = -Xswiftc -use-ld=lld -Xlinker --gc-sections -Xlinker --icf=safe -Xlinker --no-export-dynamic \
  -Xlinker -z -Xlinker pack-relative-relocs

.PHONY: brokers demo test build release bench soak torture month fuzz udev setup setup-test setup-package setup-image deb deb-test image image-test clean help hostile

help:
	@echo 'make demo     a whole community on virtual lines, the agent on it, a platform that pulls ($(SECONDS) s; SECONDS=N)'
	@echo 'make test     all tests'
	@echo 'make build    debug build        make release  release build, Swift libraries linked in, stripped'
	@echo 'make bench    benchmarks         make soak     a million transactions on a dirty line (TRANSACTIONS=N)'
	@echo 'make torture  the store, its power cut and killed at any moment (CUTS=1000 KILLS=10000)'
	@echo 'make brokers  mosquitto killed under a box that pushes to it (KILLS=100)'
	@echo 'make month    a month of the demo community in virtual time, twice, and the two alike (DAYS=N)'
	@echo 'make fleet    $(or $(BOXES),200) boxes push into a RabbitMQ cluster, and a node of it is killed (BOXES=N SECONDS=N)'
	@echo 'make fuzz     every decoder of bytes from a line, and the reader of configuration, fuzzed for $(FUZZ_SECONDS) s in all (SECONDS=N)'
	@echo 'make test-arm64   the unit tests, built for 64-bit ARM and run under qemu-user (as root; 15 min)'
	@echo 'make deb      Debian packages for amd64 and arm64      make deb-test  install, upgrade, remove, purge in a chroot'
	@echo 'make hostile  slow heads, malformed requests and guessed tokens (SLOW=500 MALFORMED=100000 GUESSES=10000)'
	@echo 'make image    a card for BOARD=qemu-virt, with the package     make image-test  the image in QEMU'
	@echo 'make clean    remove what was built'

setup:
	@scripts/setup

setup-test:
	@scripts/setup test

setup-package:
	@scripts/setup package

setup-image:
	@scripts/setup image

demo: setup
	$(SWIFT) build -c release --product kerb
	@$$($(SWIFT) build -c release --show-bin-path)/kerb demo --seconds $(SECONDS)

build: setup
	$(SWIFT) build

release: setup
	$(SWIFT) build -c release --product kerb --static-swift-stdlib --scratch-path .build/static $(SMALL)
	strip -o .build/kerb $$($(SWIFT) build -c release --product kerb --static-swift-stdlib --scratch-path .build/static --show-bin-path)/kerb
	@ls -l .build/kerb

test: setup-test $(VENV)/ready
	scripts/tidy
	scripts/check-unit
	scripts/check-embedded
	$(SWIFT) build --build-tests
	@echo 'three runs: lines keep time, and the faults of the store keep both cores busy'
	SWIFT=$(SWIFT) scripts/swift-test units --skip VirtualSiteTests --skip StoreTests
	SWIFT=$(SWIFT) scripts/swift-test lines --filter VirtualSiteTests
	SWIFT=$(SWIFT) scripts/swift-test store --filter StoreTests
	scripts/fuzz-short
	scripts/torture 25 200
	$(SWIFT) build -c release --product kerb
	$(SWIFT) build -c release --product allocation-probe
	$(SWIFT) build -c release --product simulation
	$(VENV)/bin/python -m pytest -v Tests/Acceptance

$(VENV)/ready: Tests/Acceptance/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r Tests/Acceptance/requirements.txt
	@touch $@

# The Benchmarks package is touched first: the package manager does not notice new files in the package above it.
bench: release
	touch Package.swift Benchmarks/Package.swift
	cd Benchmarks && $(SWIFT) package --disable-sandbox benchmark --target Stream
	cd Benchmarks && $(SWIFT) build -c release --product Wire
	cd Benchmarks && .build/release/Wire
	cd Benchmarks && $(SWIFT) build -c release --product StoreBench
	Benchmarks/store Benchmarks/.build/release/StoreBench
	Benchmarks/figures .build/kerb
	$(SWIFT) build -c release --product upstream-bench
	Benchmarks/upstream .build/kerb $$($(SWIFT) build -c release --show-bin-path)/upstream-bench

# A million transactions on a dirty line, in order and overtaking. KERB_SEED chooses other dirt.
soak: setup
	$(SWIFT) build --build-tests
	KERB_TRANSACTIONS=$(or $(TRANSACTIONS),1000000) $(SWIFT) test --skip-build --filter DirtyLine

# The store: power cuts on a disk of its own, and kills; then cuts that are computed, at any write.
torture: setup
	scripts/torture $(or $(CUTS),1000) $(or $(KILLS),10000)
	$(SWIFT) build --build-tests
	KERB_CUTS=$(or $(CUTS),1000) $(SWIFT) test --skip-build --filter CutTests

# mosquitto killed under a box that pushes to it, and now and then the box: each batch arrives all the same.
brokers: setup-test $(VENV)/ready
	$(SWIFT) build -c release --product kerb
	KERB_BROKER_KILLS=$(or $(KILLS),100) $(VENV)/bin/python -m pytest -v -s Tests/Acceptance/test_push_mqtt.py -k killed

# A month in virtual time, through the real pipelines: the same seed gives the same samples and events, bit for bit.
month: setup
	$(SWIFT) build -c release --product simulation
	@for run in 1 2; do \
	  begin=$$(date +%s); \
	  .build/release/simulation $(or $(DAYS),30) $(or $(KERB_SEED),1) | tee .build/month.$$run; \
	  echo "$$(($$(date +%s) - begin)) s"; \
	  sed -i 's/"[a-z_]*kib":[0-9]*,//g' .build/month.$$run; \
	done
	@cmp .build/month.1 .build/month.2 && echo 'the same, bit for bit'

.PHONY: fleet setup-fleet
setup-fleet:
	@scripts/setup fleet

# RabbitMQ and HAProxy are started on loopback in a temporary folder, and stopped.
fleet: setup-fleet $(VENV)/ready
	$(SWIFT) build -c release --product fleet
	$(VENV)/bin/python Tests/Fleet/run.py $$($(SWIFT) build -c release --show-bin-path)/fleet $(or $(BOXES),200) \
	  $(if $(filter-out file,$(origin SECONDS)),$(SECONDS),60)

# Hostile clients in full; the daily run has fewer. KERB_SEED chooses other requests.
hostile: setup-test $(VENV)/ready
	$(SWIFT) build -c release --product kerb
	KERB_SLOW=$(or $(SLOW),500) KERB_MALFORMED=$(or $(MALFORMED),100000) KERB_GUESSES=$(or $(GUESSES),10000) \
	  $(VENV)/bin/python -m pytest -v -s Tests/Acceptance/test_hostile.py

fuzz: setup
	scripts/fuzz $$(($(FUZZ_SECONDS) / 10 + 1))

# The rules of every board, made from boards/.
udev: setup
	$(SWIFT) build --product kerb
	$$($(SWIFT) build --show-bin-path)/kerb board udev --write udev

.PHONY: test-arm64
# What of them needs a real machine is left out, and named with its reason.
test-arm64: setup-package
	scripts/cross-arm64 test

# Debian packages; the one for arm64 is built by Debian's own Swift in a folder of its own, as root.
deb: setup-package release
	packaging/deb amd64 .build/kerb
	scripts/cross-arm64
	packaging/deb arm64 .build/arm64/kerb qemu-aarch64-static -L .build/arm64/sysroot

# SUITE=bookworm: into a Debian 12.
deb-test: setup-package
	packaging/deb-test $$(ls -t .build/deb/kerb_*_amd64.deb | head -1) $(or $(SUITE),trixie)

# A card's image with the package in it: BOARD=qemu-virt, or another of packaging/image/boards. As root.
image: setup-image
	packaging/image/build $(or $(BOARD),qemu-virt) $$(ls -t .build/deb/kerb_*_arm64.deb | head -1)

# The image in QEMU, emulated: first boot by a file, pulled through a port, power cuts, adapters replugged, cuts of the block log,
# signed updates kept and taken back, a partition that is full, damaged or missing. Half an hour; PHASES=first does less.
image-test: setup-image
	packaging/image/test $(or $(BOARD),qemu-virt)

clean:
	rm -rf .build Benchmarks/.build $(VENV)
