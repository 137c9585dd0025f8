# Two commands do everything: `make run` and `make test`. Both set up what they need in .venv, and nothing outside.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup run test check bench fix proto schema lock clean
help:            ## This list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

setup: .venv/.dev  ## Everything for development; leaves the binary at .venv/bin/dts

.venv/.dev: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

run: setup       ## All roles and an embedded PostgreSQL, with the ten tasks of examples/tasks.yaml
	$(BIN)/dts dev --apply examples/tasks.yaml

test: setup      ## The tests; real PostgreSQL, real processes, and the real Docker engine where there is one
	$(BIN)/python -m pytest $(ARGS)

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
	--python-version 3.11 --extra embedded pyproject.toml
lock:            ## Lock the dependencies anew
	$(BIN)/$(LOCK) --output-file requirements/run.txt
	$(BIN)/$(LOCK) --group dev --output-file requirements/dev.txt
	$(BIN)/$(LOCK) --group dev --group bench --output-file requirements/bench.txt

clean:           ## Forget what was built
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache
