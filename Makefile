# From a bare machine to a learning agent (`make quickstart`) or to a tested one (`make test`).
#
#   make quickstart   set up what the first run needs, then train a small agent on this machine
#   make test         set up everything, then run every test that is neither slow nor needs a GPU
#   make test-all     the slow tests too
#   make lint         style, types and architecture alone
#   make docs         the documentation as a site, in build/docs
#   make setup        set up everything and stop
#   make clean        remove the environment and what runs left behind
#
# Another Python:              make test PYTHON=python3.12
# Another build of torch:      make test PIP_ARGS="--index-url <the index that has it>"
# More test processes:         make test WORKERS=8

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --constraint constraints.txt $(PIP_ARGS)

FIRST := envs/cards plugins/models
PACKAGES ?= $(patsubst %/pyproject.toml,%,$(sort $(wildcard envs/*/pyproject.toml plugins/*/pyproject.toml)))
editable = $(foreach package,$(1),--editable ./$(package))
projects = $(foreach package,$(1),$(package)/pyproject.toml)

# One thread a process: two processes of many threads each slow one another down by an order of magnitude. In the
# order of the files: xdist's own puts those of few tests last, and these are the long ones that one process ends with.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help quickstart setup test test-all lint docs clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -n 13

quickstart: $(VENV)/.ready-first
	$(BIN)/vlmq fit --config configs/quickstart.yaml

setup: $(VENV)/.ready-all

test: $(VENV)/.ready-all
	$(PYTEST) -m "not slow and not gpu"

test-all: $(VENV)/.ready-all
	$(PYTEST) -m "not gpu"

lint: $(VENV)/.ready-all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A broken link fails it; the pages of commands and settings are written anew first.
docs: $(VENV)/.ready-all
	OMP_NUM_THREADS=1 $(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name '*.egg-info' -prune -exec rm -rf {} +

# Each step leaves a stamp, so that a second call goes straight to work.

$(VENV)/.ready-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "vlmq needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." \
	    "Name another one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.ready-torch: constraints.txt | $(VENV)/.ready-python
	@echo "Installing torch (the largest download; minutes on a slow line) ..."
	$(INSTALL) torch
	@touch $@

$(VENV)/.ready-first: pyproject.toml $(call projects,$(FIRST)) | $(VENV)/.ready-torch
	@echo "Installing vlmq and what the first run needs ..."
	$(INSTALL) --editable . $(call editable,$(FIRST))
	@touch $@

$(VENV)/.ready-all: pyproject.toml $(call projects,$(PACKAGES)) | $(VENV)/.ready-torch
	@echo "Installing vlmq, its environments and plugins, and the test tools ..."
	$(INSTALL) --editable ".[test]" $(call editable,$(PACKAGES))
	@touch $@ $(VENV)/.ready-first
