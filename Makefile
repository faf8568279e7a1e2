# Every target runs setup first if it needs to. `make` without a target lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
# Each process of the tests would compile all modules and rewrite all assertions again.
unexport PYTHONDONTWRITEBYTECODE

# More processes than two cores have: the tests spend most of their time waiting.
PYTEST := $(BIN)/python -m pytest -n 8 --dist worksteal

.PHONY: help setup run connect chat test lint lint-js check doctor bench soak lock vendor docs pictures icons sims clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## create .venv with pinned, hashed dependencies (quick when nothing changed)

# The pins are complete. Without --no-deps, pip would look for newer releases of packages that are
# required with an extra, and then reject them because they have no hash.
$(STAMP): requirements-dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Threadline needs Python 3.11 or newer: install it or set PYTHON=/path/to/python3." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV): this takes a minute or two, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.txt
	@echo "Installing Threadline itself."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## start the bot (the page in the browser when no token is set)
	@$(BIN)/python -m bot run

connect: setup ## connect a model, Discord or Slack: asks, tries it and writes .env
	@$(BIN)/python -m bot setup

chat: setup ## chat with the bot in the terminal
	@$(BIN)/python -m bot chat

test: setup ## all tests
	$(PYTEST)

lint: setup ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(MAKE) --no-print-directory lint-js

lint-js: ## types and lint of the page's JavaScript (needs npm)
	@if command -v npx >/dev/null; then \
		cd adapters/web && npx --yes --package=typescript@7.0.2 -- tsc -p jsconfig.json && \
		npx --yes --package=@biomejs/biome@2.6.8 -- biome lint --error-on-warnings page/*.js docs/*.js; \
	else echo "npm is not installed: the page's JavaScript was not checked."; fi

check: lint ## lint, and the tests with coverage
	$(PYTEST) --cov --cov-report=term:skip-covered

doctor: setup ## try tokens, permissions and the model with real calls
	@$(BIN)/python -m bot doctor

bench: setup ## measure: ratios against a bound, or against a peer in the same run
	@$(BIN)/python -m tests.bench

soak: setup ## run every kill point, and virtual users under fault injection
	$(BIN)/python -m pytest -m soak -n 2 -o timeout=0 --override-ini="addopts=--import-mode=importlib --strict-markers -ra"

sims: setup ## simulate Discord, Slack and a model on this machine, and chat with the bot there
	@$(BIN)/python -m tests.sims

icons: setup ## draw the app's icons from the logo
	$(BIN)/python -m tests.support.icons

pictures: setup ## redraw the README's pictures from a real run
	@$(BIN)/python -m tests.support.picture
	THREADLINE_SCREENSHOTS=1 $(BIN)/python -m pytest -q tests/e2e/test_page_pictures.py

docs: setup ## write docs/reference/ from the code
	@$(BIN)/python -m tests.support.reference

lock: ## update all pinned dependencies (needs the uv command)
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml -o requirements.txt
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --extra otel -c requirements.txt pyproject.toml -o requirements-otel.txt
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.txt

vendor: setup ## write the pinned browser libraries of adapters/web/vendor (needs npm)
	@$(BIN)/python -m tests.support.vendor

clean: ## remove everything that setup created
	rm -rf $(VENV) build *.egg-info
