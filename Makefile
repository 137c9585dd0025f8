# Two commands do everything: `make run` and `make test`. Both set up what they need in .venv, and nothing outside.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup run test test-browser test-faults test-swarm soak check bench fix proto schema lock wheels clean
help:            ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

setup: .venv/.dev  ## Everything for development; leaves the binary at .venv/bin/dts

.venv/.dev: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

run: setup       ## All roles and an embedded PostgreSQL, with the ten tasks of examples/tasks.yaml
	$(BIN)/dts dev --apply examples/tasks.yaml

test: setup      ## The tests; real PostgreSQL, real processes, and the real Docker engine where there is one
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest -n auto --dist loadfile tests/unit tests/rpc tests/store tests/roles
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/docker tests/e2e
endif

test-browser: setup  ## The dashboard in the Chromium of this machine; pictures of each page are in build/browser
	$(BIN)/python -m pytest tests/browser $(ARGS)

test-faults: setup  ## Thousands of ticks while one part after another breaks, on this machine; the report is in build/faults
	$(BIN)/python -m pytest tests/faults -n 2 --dist loadfile $(ARGS)

test-swarm: setup  ## The tests on a real Swarm of three engines, made here; takes root
	$(BIN)/python -m pytest tests/swarm $(ARGS)

MINUTES ?= 60
SEED ?= 1
soak: setup      ## The same faults and others on a real Swarm, for MINUTES with a SEED; takes root; the report is in build/soak
	PYTHONPATH=tests $(BIN)/python -m faults.lab.run --minutes $(MINUTES) --seed $(SEED) $(ARGS)

check: setup     ## What a machine can say about quality
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture
	$(BIN)/python tools/proto.py --check
	$(BIN)/python tools/schema.py --check

fix: setup       ## Format, and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: setup     ## Generate src/dts/pb from proto/
	$(BIN)/python tools/proto.py

schema: setup    ## Write migrations/schema.sql from the migrations
	$(BIN)/python tools/schema.py

bench: setup .venv/.bench  ## Figures against peers and limits of the same run, in build/bench.json
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

.venv/.bench: requirements/bench.txt .venv/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bench.txt
	@touch $@

LOCK := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	--python-version 3.11
EVERYTHING := --extra apprise --extra embedded --extra otel pyproject.toml
lock:            ## Lock the dependencies anew
	$(BIN)/$(LOCK) $(EVERYTHING) --output-file requirements/run.txt
	$(BIN)/$(LOCK) $(EVERYTHING) --group dev --output-file requirements/dev.txt
	$(BIN)/$(LOCK) $(EVERYTHING) --group dev --group bench --output-file requirements/bench.txt
	$(BIN)/$(LOCK) --extra apprise --extra otel pyproject.toml --output-file requirements/image.txt
	$(BIN)/$(LOCK) --group build --output-file requirements/build.txt

wheels: setup    ## What the image is made of, in build/wheels, for a build without a network
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		--dest build/wheels --requirement requirements/image.txt --requirement requirements/build.txt

clean:           ## Forget what was built
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache
