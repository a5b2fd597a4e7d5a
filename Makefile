# Set-up and every check. `make` alone lists the targets. All of them work in .venv, which is made on first use.
#
# Another interpreter:   make PYTHON=python3.12 test
# Another build of torch (GPU): see CONTRIBUTING.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
RUNS := $(VENV)/.installed-train
PIP := $(BIN)/python -m pip --disable-pip-version-check
CODE := src tests docs benchmarks recipes conftest.py

# Of `make venv`: what is installed beside tomoseg itself
EXTRAS ?= dev

# Of `make fuzz`: seconds for all readers together, and which (nifti nrrd mha dicom zip; all if empty)
SECONDS ?= 25
READERS ?=

# Where this is set, every process of the tests would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo test quick test-slow test-installed test-nnunet fuzz check lint format docs catalogue web clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Extras to install. Modules are compiled when they are first imported, as most of them never are: half the time.
define install
	@command -v $(PYTHON) >/dev/null || { echo "expected Python 3.11 or newer, found no '$(PYTHON)'; install it or run make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); run make PYTHON=/path/to/a/newer/python"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "expected Python's venv module, found none for '$(PYTHON)'; install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable '.[$(1)]'
	@touch $@
endef

venv: $(READY) ## Make .venv with the pinned dependencies and tomoseg itself, editable

$(READY): pyproject.toml constraints.txt
	$(call install,$(EXTRAS))

$(RUNS): pyproject.toml constraints.txt
	$(call install,train)

demo: $(or $(wildcard $(READY)),$(RUNS)) ## Train on a phantom and segment a scan that it has not seen
	$(BIN)/tomoseg demo

test: $(READY) ## Run the tests and the examples in docstrings, in parallel
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

quick: $(READY) ## Run the tests nearest to what has changed, for less than a minute
	$(BIN)/python -m tests.quick

test-slow: $(READY) ## Run the tests that take minutes
	$(BIN)/pytest -m slow

test-installed: $(READY) ## Install tomoseg alone into an environment of its own, without PyTorch, and run it
	$(BIN)/pytest -m installed

test-nnunet: $(READY) ## Compare imported models with nnU-Net and TotalSegmentator: NNUNET=PYTHON, see tests/oracles
	NNUNET=$(NNUNET) $(BIN)/pytest -m nnunet tests/oracles

fuzz: $(READY) ## Try hostile files on every reader; longer with SECONDS=600
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(READERS)

check: lint fuzz test ## Run everything that CI runs

lint: $(READY) ## Check format, style, complexity, length and types
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/ruff check $(wildcard $(CODE))
	@! $(BIN)/radon cc --min C --show-complexity src | grep . || { echo "expected no block above B, which is a complexity of 10, got those above; split them"; exit 1; }
	@! find src -name '*.py' -exec wc -l {} + | awk '$$1 > 500 && $$2 != "total"' | grep . || { echo "expected files of up to 500 lines, got those above; split them"; exit 1; }
	$(BIN)/mypy

format: $(READY) ## Format the code and sort its imports
	$(BIN)/ruff check --select I --fix $(wildcard $(CODE))
	$(BIN)/ruff format $(wildcard $(CODE))

docs: $(READY) ## Write the reference pages and build the site: build/docs/index.html
	$(BIN)/python docs/build_reference.py
	$(BIN)/python -m sphinx -q -W --keep-going -E -d build/doctrees docs build/docs

catalogue: $(READY) ## Bring the catalogue of French texts up to date, and list what lacks a translation
	$(BIN)/python docs/build_catalogue.py --missing

web: $(READY) ## Build the page of `view` and `serve` from web/ into the package; needs Node 20 or newer
	$(BIN)/python web/french.py
	cd web && npm ci --no-audit --no-fund && npm run build

clean: ## Remove .venv, caches and builds
	rm -rf $(VENV) build dist web/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz
	find src tests docs benchmarks recipes -name __pycache__ -type d -prune -exec rm -rf {} +
