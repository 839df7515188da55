# Two commands do everything on a machine with Python 3.11+, make and git:
#   make reproduce    rerun every figure and the table of claims (QUICK=1: a wiring check)
#   make test         the tests
VENV   ?= .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv pip
STAMP  := $(VENV)/.stamp-
# The first of these that is new enough; PYTHON=/path/to/python overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: help setup reproduce results test test-long lint lock lock-check book book-test benchmark peers reliability clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make reproduce    every figure and the table of claims (QUICK=1: wiring check only)"
	@echo "make test         the tests (some minutes)"
	@echo "make test-long    what waits for signals, and the rest of long tables of cases"
	@echo "make book         build the book into book/_build/html"
	@echo "make benchmark    speed, as ratios measured side by side"
	@echo "make reliability  the long statistical campaigns (hours; goes on where it stopped)"
	@echo "make peers        other people's samplers: cases with exact answers, and speed (hours)"
	@echo "make results      rewrite the tracked results that book and README draw from"
	@echo "make book-test    open every page of the book in headless Chromium, if there is one"
	@echo "make lint | lock | lock-check | setup | clean"

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$(PYTHON) cannot be run, or is older than Python 3.11: say make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.9 || { rm -rf $(VENV); echo "pip could not download uv: is the package index within reach?" >&2; exit 2; }

$(STAMP)%: requirements/%.txt pyproject.toml $(BIN)/uv
	@echo "installing $<"
	@$(UV) install -q --compile-bytecode --python $(BIN)/python --require-hashes -r $< || { echo "$< could not be installed: is the package index within reach?" >&2; exit 2; }
	$(UV) install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

setup: $(STAMP)test

reproduce: $(STAMP)test
	$(BIN)/bayesmeas reproduce $(if $(QUICK),--quick)

results: $(STAMP)test
	$(BIN)/bayesmeas reproduce --write-results

test: $(STAMP)test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-long: $(STAMP)test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m long tests

# Resumable: only what is not in its store yet, for the present sources of the sampler, is run.
reliability: export OMP_NUM_THREADS = 1
reliability: export OPENBLAS_NUM_THREADS = 1
reliability: $(STAMP)test
	$(BIN)/bayesmeas run reliability --out build/reliability --write-results
	$(BIN)/python -m pytest -q -m slow tests

lint: $(STAMP)test
	$(BIN)/ruff check .
	$(BIN)/mypy

# Guests have an environment of their own; a run that was stopped goes on where it was.
peers: export OMP_NUM_THREADS = 1
peers: export OPENBLAS_NUM_THREADS = 1
peers:
	$(MAKE) VENV=.venv-peers .venv-peers/.stamp-peers
	.venv-peers/bin/bayesmeas run guest_samplers --out build/peers --write-results
	.venv-peers/bin/bayesmeas run peers --out build/peers --write-results

benchmark: $(STAMP)test
	$(BIN)/python -m experiments.benchmark

book: $(STAMP)test $(STAMP)book
	$(BIN)/jupyter-book build -q -W -n --keep-going book

book-test: book
	$(BIN)/python -m pytest -q -rs -m book tests/test_book.py

lock: $(BIN)/uv
	requirements/compile.sh $(BIN)/uv

# The locks must be what their inputs give, with the present locks as preference: a new release
# of some package does not turn this red.
lock-check: $(BIN)/uv
	@rm -rf build/locks && mkdir -p build/locks && cp requirements/*.txt build/locks/
	requirements/compile.sh $(BIN)/uv build/locks
	@for f in requirements/*.txt; do cmp "$$f" "build/locks/$$(basename "$$f")" || { echo "$$f does not follow from pyproject.toml: run make lock" >&2; exit 1; }; done
	@! grep -nE '://|index-url|find-links' requirements/*.txt
	@echo "locks agree"

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache book/_build
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
