# Two commands first: `make demo` and `make test`. Each brings the machine to where it works.

SWIFT ?= swift
SECONDS ?= 30
VENV := .venv

.PHONY: demo test build release bench setup setup-test clean help

help:
	@echo 'make demo     a whole community on virtual lines, the agent on it, a platform that pulls ($(SECONDS) s; SECONDS=N)'
	@echo 'make test     all tests'
	@echo 'make build    debug build        make release  release build, Swift libraries linked in, stripped'
	@echo 'make bench    benchmarks         make clean    remove what was built'

setup:
	@scripts/setup

setup-test:
	@scripts/setup test

demo: setup
	$(SWIFT) build -c release --product kerb
	@$$($(SWIFT) build -c release --show-bin-path)/kerb demo --seconds $(SECONDS)

build: setup
	$(SWIFT) build

release: setup
	$(SWIFT) build -c release --product kerb --static-swift-stdlib --scratch-path .build/static
	strip -o .build/kerb $$($(SWIFT) build -c release --product kerb --static-swift-stdlib --scratch-path .build/static --show-bin-path)/kerb
	@ls -l .build/kerb

test: setup-test $(VENV)/ready
	scripts/check-embedded
	$(SWIFT) build --build-tests
	$(SWIFT) test --skip-build
	$(SWIFT) build -c release --product kerb
	$(SWIFT) build -c release --product allocation-probe
	$(VENV)/bin/python -m pytest -v Tests/Acceptance

$(VENV)/ready: Tests/Acceptance/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r Tests/Acceptance/requirements.txt
	@touch $@

bench: setup
	cd Benchmarks && $(SWIFT) package --disable-sandbox benchmark

clean:
	rm -rf .build Benchmarks/.build $(VENV)
