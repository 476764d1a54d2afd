# Everything one needs from a fresh clone: Python 3.11 and make. `make run` starts the product,
# `make test` checks it. Stamps in .venv/ and var/ remember what is done, so a second run takes seconds.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 1
BIN := .venv/bin
MANAGE := $(BIN)/python manage.py
# The locks name everything, so nothing is left to resolve: a package released tomorrow changes nothing here.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --progress-bar off --require-hashes --no-deps -qq
TESTS ?= tests
XDIST ?= -n 2

.PHONY: help install run test lint format lock bench schema clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

install: .venv/runtime .venv/development .venv/frameworks ## a virtual environment in .venv with all that is needed

.venv/created:
	@echo "==> making a virtual environment in .venv"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; say make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/runtime: requirements.lock | .venv/created
	@echo "==> installing SpendHub's packages (first time: about half a minute)"
	@$(PIP) -r requirements.lock
	@touch $@

.venv/development: requirements-dev.lock | .venv/runtime
	@echo "==> installing the packages of tests and checks (first time: about half a minute)"
	@$(PIP) -r requirements-dev.lock
	@touch $@

.venv/frameworks: requirements-frameworks.lock | .venv/development
	@echo "==> installing the agent frameworks that the tests drive"
	@$(PIP) -r requirements-frameworks.lock
	@touch $@

# make hands a TERM on to its own child alone: a shell between them would die of it, and leave the server running.
run: .venv/runtime ## from fresh clone to running product on PORT (8000)
	@exec env PORT=$(PORT) WORKERS=$(WORKERS) $(BIN)/python -m spendhub.first_run

test: .venv/development .venv/frameworks lint ## all checks, then all tests on SQLite and on PostgreSQL with Valkey
	@$(BIN)/python -m tests.browser_present
	@$(MANAGE) makemigrations --check --dry-run --verbosity 0 || { $(MANAGE) makemigrations --check --dry-run; exit 1; }
	@rm -f .coverage .coverage.*
	@echo "==> tests on SQLite, without Redis"
	@env -u DATABASE_URL -u REDIS_URL SPENDHUB_TEST_DATABASE=sqlite \
		$(BIN)/python -m pytest $(XDIST) --cov --cov-report= -q -m "not servers" $(TESTS)
	@$(BIN)/coverage report --skip-covered --show-missing
	@echo "==> tests on PostgreSQL and Valkey (those that touch a store)"
	@SPENDHUB_TEST_DATABASE=postgres SPENDHUB_TEST_STORES_ONLY=1 \
		$(BIN)/python -m pytest $(XDIST) -q -m "not sqlite_only and not once" $(TESTS)

lint: .venv/development ## formatting, lint, types, import rules, OpenAPI file
	@echo "==> format, lint, types, imports, OpenAPI"
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff --quiet .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >/dev/null || { $(BIN)/lint-imports --no-logo; exit 1; }
	@$(MANAGE) spectacular --validate --fail-on-warn --file .openapi.new
	@cmp -s .openapi.new docs/openapi.yaml || { echo "docs/openapi.yaml is behind the code: run make schema"; rm -f .openapi.new; exit 1; }
	@rm -f .openapi.new

schema: .venv/development ## docs/openapi.yaml anew
	@$(MANAGE) spectacular --validate --fail-on-warn --file docs/openapi.yaml

format: .venv/development ## put the code in its one format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .venv/development ## exact versions and hashes anew, from requirements*.txt
	@$(BIN)/pip-compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-header --strip-extras --allow-unsafe -o requirements.lock requirements.txt
	@$(BIN)/pip-compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-header --strip-extras --allow-unsafe -c requirements.lock -o requirements-dev.lock requirements-dev.txt
	@$(BIN)/pip-compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-header --strip-extras --allow-unsafe -c requirements-dev.lock -o requirements-frameworks.lock requirements-frameworks.txt

bench: .venv/development ## measures what the README claims, into bench/results
	@for claim in gateway api reserve spans; do echo "==> $$claim"; $(BIN)/python -m bench.$$claim || exit 1; done

clean: ## removes what the tools have left behind, never var/
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
