# `make` lists the targets. Each sets up what it needs; none needs anything but Python and make.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
WORKERS ?= 2
CHROMIUM ?= $(shell for name in chromium-headless-shell chromium chromium-browser google-chrome; do command -v $$name && break; done)

PY = $(VENV)/bin/python
PIP = $(PY) -m pip install --quiet --disable-pip-version-check
UV = $(PY) -m uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --python-version 3.11 \
	--custom-compile-command "make lock"

# What is installed: what the portal runs on, the command line, what tests and checks need.
BASE = $(VENV)/.base
CLI = $(VENV)/.cli
DEV = $(VENV)/.dev
STATIC = var/static/staticfiles.json
CLI_FILES = $(shell find cli -name '*.py' -o -name pyproject.toml 2>/dev/null)

# COVERAGE=1 measures as well, on SQLite and in the browser, and leaves a .coverage.* file for each.
SUMMARY = var/tests.txt
PYTEST = $(PY) -m pytest -n $(WORKERS) --dist worksteal
MEASURED = $(PYTEST) $(if $(COVERAGE),--cov --cov-report=)
measured = $(if $(COVERAGE),COVERAGE_FILE=.coverage.$(1)) TEST_SUMMARY=$(SUMMARY)

# `make check` is these; each can be asked for by itself.
CHECKS = check style types deployment

# Python compiles every module once and keeps that, also where the environment says otherwise: tests start many processes.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help run test coverage security attack $(CHECKS) format demo weights screenshots bench bench-short soak faults upgrade-drill lock $(VENV)
.DEFAULT_GOAL := help

help:
	@echo 'make run      serve the portal on http://127.0.0.1:8000 (PORT=8080 for another port)'
	@echo '              DEMO=1 serves a made-up company to look at, in a database of its own'
	@echo 'make test     run all tests, on SQLite and on PostgreSQL'
	@echo 'make coverage  run all tests, and fail where less than 95 % of the lines and branches were reached'
	@echo 'make security  run the tests of each security line and count them'
	@echo 'make attack   turn sqlmap, wapiti and guessing on a portal of its own (ATTACK_MINUTES=2 for less of each)'
	@echo 'make check    linters, types, layers, migrations, deployment checks'
	@echo 'make format   format the code and the templates'
	@echo 'make demo     play the session of the documentation against a portal of its own'
	@echo 'make weights  print what each page of the console weighs, and its requests'
	@echo 'make screenshots  take the pictures of docs/images anew'
	@echo 'make bench    measure the API, the console and bulk changes with a million tokens (BENCH_TOKENS=200000 for less)'
	@echo 'make bench-short  compare the exchange and the profile with what was recorded, in two minutes'
	@echo 'make soak     ten minutes of callers and changes at once; every answer is checked (SOAK_SECONDS=60 for less)'
	@echo 'make faults   kill, cut off and fill what the portal stands on, under load (FAULTS="a-worker-is-killed" for some)'
	@echo 'make upgrade-drill  two million tokens from the first schema to the current one, under load (UPGRADE_TOKENS=20000 for less)'
	@echo 'make lock     write requirements.txt and requirements-dev.txt anew (UPGRADE=1 for newer versions)'
	@echo
	@echo 'PYTHON=python3.12 VENV=.venv312 chooses another Python.'

# The demonstration has a database of its own, so that it never mixes with what is real.
DEMO_DATABASE = sqlite:///$(CURDIR)/var/demo.sqlite3

run: export PORT := $(PORT)
ifdef DEMO
run: export DATABASE_URL := $(DEMO_DATABASE)
endif
run: $(CLI)
	@mkdir -p -m 700 var
	@test -e .env || $(PY) manage.py write_env
	@$(PY) manage.py migrate --verbosity 0
	@test -z "$$(find static $(BASE) -newer $(STATIC) 2>&1)" || $(PY) manage.py collectstatic --noinput --verbosity 0
	@$(PY) manage.py $(if $(DEMO),seed_demo,bootstrap)
	@exec $(VENV)/bin/gunicorn -c osmo_portal/gunicorn.conf.py osmo_portal.wsgi

test: $(CLI) $(DEV)
	@mkdir -p -m 700 var && rm -f $(SUMMARY) .coverage.*; failed=0; \
	$(call measured,sqlite) TEST_DATABASE=sqlite $(MEASURED) || failed=1; \
	TEST_SUMMARY=$(SUMMARY) TEST_DATABASE=postgresql $(PYTEST) --asking-the-database || failed=1; \
	if [ -n "$(CHROMIUM)" ]; then \
		$(call measured,browser) COVERAGE_CONCURRENCY=greenlet TEST_TITLE="In Chromium on " \
			TEST_DATABASE=sqlite CHROMIUM="$(CHROMIUM)" $(MEASURED) tests/browser || failed=1; \
	else \
		echo "In Chromium: not run, there is none (install one, or CHROMIUM=/path/to/it)" >> $(SUMMARY); \
	fi; \
	echo; cat $(SUMMARY); exit $$failed

# What is measured takes nearly twice as long.
coverage:
	@$(MAKE) --no-print-directory test COVERAGE=1
	@$(VENV)/bin/coverage combine --quiet .coverage.*
	@$(VENV)/bin/coverage report --fail-under=95

# On PostgreSQL, where the rights in the database can be tried too. TEST_DATABASE=sqlite is quicker.
security: export TEST_DATABASE ?= postgresql
security: $(CLI) $(DEV)
	@$(PY) -m tests.security -n $(WORKERS) --dist worksteal

attack: $(CLI) $(DEV)
	@$(PY) -m tests.attack

# As in production, with keys of the moment: nothing of a developer's own .env plays a part.
$(CHECKS): export ENV_FILE = /dev/null
$(CHECKS): export SECRET_KEY = $(call random,48)
$(CHECKS): export KEY_ENCRYPTION_KEYS = $(call random,32)
$(CHECKS): export PORTAL_URL = https://portal.example
$(CHECKS): export DATABASE_URL = sqlite://:memory:
$(CHECKS): export DEBUG = false
$(CHECKS): export REQUIRE_MFA = administrators
check: style types deployment

style: $(CLI) $(DEV)
	$(VENV)/bin/ruff check --quiet
	$(VENV)/bin/ruff format --check --quiet
	$(VENV)/bin/djlint templates --check --lint --quiet
	$(VENV)/bin/lint-imports --no-logo

types: $(CLI) $(DEV)
	$(VENV)/bin/mypy

deployment: $(CLI) $(DEV)
	$(PY) manage.py makemigrations --check
	$(PY) manage.py check --deploy --fail-level WARNING

random = $(shell $(PYTHON) -c 'import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes($(1))).decode())')

format: $(DEV)
	$(VENV)/bin/ruff check --fix-only --quiet
	$(VENV)/bin/ruff format
	$(VENV)/bin/djlint templates --reformat --quiet || $(VENV)/bin/djlint templates --check --quiet

demo: $(CLI)
	@$(PY) -m tests.demo

weights: $(CLI) $(DEV)
	@$(PY) -m tests.browser.weights

screenshots: $(CLI) $(DEV)
	@$(PY) -m tests.browser.screenshots

# With a million tokens it takes the better part of an hour, and some gigabytes of the temporary folder.
bench: export BENCH_TOKENS := $(BENCH_TOKENS)
bench: $(CLI) $(DEV)
	@$(PY) -m tests.bench $(PARTS)

# Fails where a query was added, or a ratio is worse than half of what is recorded.
bench-short: $(CLI) $(DEV)
	@$(PY) -m tests.bench short

soak: export SOAK_SECONDS := $(SOAK_SECONDS)
soak: $(CLI) $(DEV)
	@$(PY) -m tests.bench soak

# What needs root (networks, disks) or a program that is missing says so, and is left out.
faults: $(CLI) $(DEV)
	@$(PY) -m tests.faults $(FAULTS)

# The version before is taken from the history of this repository, and installed as it was locked.
upgrade-drill: $(CLI) $(DEV)
	@$(PY) -m tests.faults.upgrade

lock: $(DEV)
	$(UV) $(if $(UPGRADE),--upgrade) requirements.in -o requirements.txt
	$(UV) $(if $(UPGRADE),--upgrade) requirements-dev.in -o requirements-dev.txt

$(VENV): $(CLI) $(DEV)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo 'The portal needs Python 3.11, 3.12 or 3.13; $(PYTHON) is another. Try make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo '$(PYTHON) cannot make virtual environments (Debian: apt-get install python3-venv).' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(BASE): requirements.txt | $(PY)
	@echo 'Installing what the portal runs on'
	@$(PIP) --require-hashes -r requirements.txt
	@touch $@

$(CLI): $(BASE) $(CLI_FILES)
	@$(PIP) --no-deps --no-build-isolation --force-reinstall ./cli
	@touch $@

$(DEV): requirements-dev.txt $(BASE)
	@echo 'Installing what tests and checks need'
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@
