# Every command a person needs. A fresh machine needs git, make, Python 3.11 or newer and python3-venv;
# the rest is fetched into .venv from locks with hashes. `make` alone says what there is.

SHELL   := /bin/sh
VENV    := .venv
BIN     := $(VENV)/bin
PY      := $(BIN)/python
# Node comes from a wheel in the dev lock, so that everybody's is the same.
NPM     := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix extension
CLIENT  := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix clients/typescript
# What the longer journeys need of Node's packages.
NODE    := clients/typescript/node_modules/.ready tests/bull/node_modules/.ready
UV      := UV_PYTHON_DOWNLOADS=never $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
           --no-emit-index-url --no-header
# A virtual environment or a PYTHONPATH of the caller's must not leak into ours. And what Python compiles it
# keeps, whatever an image says: else each process compiles all of it anew, an eighth of its start.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help:  ## this list
	@echo 'make COMMAND [ARGS="…"]'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' Makefile

# ---- what a person runs ---------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/ready chromium  ## post a listing with four photos to three practice marketplaces, before your eyes
	@$(PY) -m everystall demo $(ARGS)

.PHONY: run
run: $(VENV)/ready chromium  ## everystall up: database, web and worker on this machine, real marketplaces
	@$(PY) -m everystall up $(ARGS)

.PHONY: test
test: $(VENV)/ready-dev $(VENV)/s3-ready chromium  ## the tests, on the embedded PostgreSQL and a real Chromium
	@$(PY) -m pytest -n 3 --dist worksteal -m "not extended and not longer" $(ARGS)
	@$(if $(ARGS),:,$(MAKE) --no-print-directory test-extension)

.PHONY: test-longer
test-longer: $(VENV)/ready-dev $(VENV)/s3-ready agent/.venv/ready $(NODE) chromium  ## the longer journeys, which `make test` leaves out
	@$(PY) -m pytest -n 3 --dist worksteal -m "longer and not extended" $(ARGS)

.PHONY: promtool
promtool: $(VENV)/ready-dev  ## Prometheus's own tool from Debian's package, into .venv: with it the tests play the alerts
	@[ -x $(BIN)/promtool ] || { set -e; made=$$(mktemp -d); trap 'rm -rf "$$made"' EXIT; \
	  (cd "$$made" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } \
	    && dpkg-deb --extract prometheus_*.deb .) && cp "$$made/usr/bin/promtool" $(BIN)/promtool; }

.PHONY: test-base-path
test-base-path: $(VENV)/ready-dev chromium  ## the pages and the API once more, below a path of their host
	@EVERYSTALL_TEST_ROOT_PATH=/everystall $(PY) -m pytest -n 3 --dist worksteal -m "not extended and not longer" \
	  $(or $(ARGS),tests/pages tests/api tests/test_addresses.py)

.PHONY: test-extension
test-extension: $(VENV)/ready-dev extension/node_modules/.ready  ## the extension's pure functions, in Node
	@$(NPM) test --silent

.PHONY: e2e-all
e2e-all: $(VENV)/ready-dev $(VENV)/s3-ready agent/.venv/ready $(NODE) chromium  ## the same and the longer ones: each fault, drift and layout on every marketplace
	@$(PY) -m pytest -n 3 --dist worksteal $(ARGS)

.PHONY: simulate
simulate: $(VENV)/ready-dev  ## thousands of interleavings of a publication's life, simulated (EXAMPLES=2000, SEED=… for the same again)
	@seed=$(or $(SEED),$$(date +%s)); echo "SEED=$$seed"; \
	SIMULATE=$(or $(EXAMPLES),2000) SEED=$$seed $(PY) -m pytest -n 2 tests/simulation $(ARGS)

.PHONY: test-postgres
test-postgres: $(VENV)/ready-dev $(NODE)  ## the database tests on Debian's PostgreSQL 15 (installed when root)
	@$(PY) -m tests.on_debian_postgres -n 3 --dist worksteal $(ARGS)

.PHONY: test-machines
test-machines: $(VENV)/ready-dev $(VENV)/s3-ready chromium  ## webs and workers on several hosts, each a network namespace (as root)
	@$(PY) -m tests.on_hosts $(ARGS)

.PHONY: lint
lint: $(VENV)/ready-dev extension/node_modules/.ready clients/typescript/node_modules/.ready  ## ruff, mypy, the import contracts, the Dockerfile; the extension's types and add-on rules; the client's
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@[ ! -x $(BIN)/hadolint ] || $(BIN)/hadolint Dockerfile
	@$(NPM) run --silent check
	@$(PY) -m everystall.extension --into build/extension >/dev/null
	@$(NPM) run --silent lint -- "$(CURDIR)/build/extension/everystall-firefox.zip"
	@$(OPENAPI)
	@$(CLIENT) run --silent check >/dev/null || { \
	  echo "clients/typescript is not what the API is, or has wrong types: make client" >&2; exit 1; }

.PHONY: format
format: $(VENV)/ready-dev  ## write the code as ruff would
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

.PHONY: extension
extension: $(VENV)/ready  ## the browser extension for Chrome and Firefox into dist/ (PRACTICE=1: for the practice marketplaces)
	@$(PY) -m everystall.extension $(if $(PRACTICE),--practice) $(ARGS)

.PHONY: client
client: $(VENV)/ready-dev clients/typescript/node_modules/.ready  ## write clients/typescript/schema.d.ts by what the API is
	@$(OPENAPI)
	@$(CLIENT) run --silent generate
	@$(CLIENT) run --silent types

.PHONY: bench
bench: $(VENV)/ready chromium  ## measure (up to 40 minutes) and write docs/benchmarks.md and docs/queries.md
	@$(PY) -m benchmarks $(ARGS)

.PHONY: bench-matching
bench-matching: $(VENV)/ready  ## how often the matching of listings errs, on made-up ones (minutes); writes docs/matching.md
	@$(PY) -m benchmarks.matching $(ARGS)

.PHONY: eval-content
eval-content: $(VENV)/ready  ## how well the model of OPENROUTER_MODEL reads labels and rewrites texts (needs a key; a few cents)
	@$(PY) -m benchmarks.content $(ARGS)

.PHONY: bench-sales
bench-sales: $(VENV)/ready chromium  ## how soon what sells is found and gone elsewhere (two and a half hours); writes docs/sales.md
	@$(PY) -m benchmarks.sales $(ARGS)

.PHONY: bench-dashboard
bench-dashboard: $(VENV)/ready chromium  ## the inventory with 50,000 listings: first byte, keystroke to rows, weight (minutes; ARGS=--plans)
	@$(PY) -m benchmarks.dashboard $(ARGS)

.PHONY: bench-heal
bench-heal: $(VENV)/ready-dev chromium  ## what is found again on sites that changed, 200 seeds per strength (an hour); writes docs/healing.md
	@$(PY) -m benchmarks.heal $(ARGS)

.PHONY: bench-agent
bench-agent: $(VENV)/ready-dev agent/.venv/ready chromium  ## a whole browser-use agent on the same pages, 15 per strength; writes docs/healing.md
	@$(PY) -m benchmarks.whole $(ARGS)

.PHONY: bench-archive
bench-archive: $(VENV)/ready  ## a backup of 2 GB and its restore: time and memory (a minute, 6 GB of disk); writes docs/backup.md
	@$(PY) -m benchmarks.archive $(ARGS)

.PHONY: bench-live
bench-live: $(VENV)/ready chromium  ## from a step to the screen with 200 pages open and 50 jobs (three minutes); writes docs/live.md
	@$(PY) -m benchmarks.open_pages $(ARGS)

.PHONY: lighthouse
lighthouse: $(VENV)/ready-dev benchmarks/lighthouse/node_modules/.ready chromium  ## what Lighthouse says of the pages (ten minutes); writes docs/lighthouse.md
	@$(PY) -m benchmarks.lighthouse $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/ready-dev chromium  ## a picture of every page, on desk and phone, light and dark, into docs/screenshots
	@EVERYSTALL_TEST_SHOTS=docs/screenshots $(PY) -m pytest -n 2 tests/pages/test_pages_pictured.py -q $(ARGS)

.PHONY: chaos
chaos: $(VENV)/ready-dev chromium  ## every step struck by every fault (3 hours, two shards 1.5) into docs/reliability.md (SHARD=k/n, SEED=, CELL=)
	@$(PY) -m chaos $(if $(SHARD),--shard $(SHARD)) $(if $(SEED),--seed $(SEED)) $(if $(CELL),--cell '$(CELL)') $(ARGS)

.PHONY: overlaps
overlaps: $(VENV)/ready  ## 10,000 visits by workers that are killed and stopped: never two on one account at once
	@$(PY) -m benchmarks.overlaps $(ARGS)

.PHONY: soak
soak: $(VENV)/ready chromium  ## two hours of posting, selling, taking down (ARGS="--minutes 10"); writes docs/soak.md
	@$(PY) -m benchmarks.soak $(ARGS)

.PHONY: chromium
chromium: $(VENV)/ready  ## find a Chromium, or fetch one
	@$(PY) -m everystall.browser.chromium

.PHONY: agent
agent: agent/.venv/ready  ## install the last rung of healing, a browser-use agent (250 MB; docs/healing.md)

.PHONY: bull
bull: $(VENV)/bull-ready  ## install the extras that the image has: for `everystall bull-intake` (docs/from-nextjs.md), Sentry

.PHONY: doctor
doctor: $(VENV)/ready  ## check this machine
	@$(PY) -m everystall doctor

.PHONY: lock
lock: $(VENV)/uv-ready  ## write the six locks anew (ARGS=--upgrade for newer versions)
	$(COMPILE) $(ARGS) pyproject.toml -o requirements.lock
	$(COMPILE) $(ARGS) pyproject.toml --extra bull --extra sentry -c requirements.lock -o requirements-bull.lock
	$(COMPILE) $(ARGS) pyproject.toml --group dev -c requirements-bull.lock -o requirements-dev.lock
	echo uv | $(COMPILE) $(ARGS) - -o requirements-uv.lock
	printf '%s\n' 'moto[s3]' flask flask-cors | $(COMPILE) $(ARGS) - -o requirements-s3.lock
	$(COMPILE) $(ARGS) agent/pyproject.toml -o agent/requirements.lock

.PHONY: clean
clean:  ## remove the environment and the caches (the demo's data in .data too)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf .data dist build extension/node_modules clients/typescript/node_modules tests/bull/node_modules agent/.venv
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up: done once, and again when a lock changes ---------------------------------------------

# The Python to build on: PYTHON=… if you say so, else the first of these that is new enough.
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)

$(VENV)/uv-ready: requirements-uv.lock
	@set -e; found=; seen=; \
	for python in $(PYTHONS); do \
	  command -v "$$python" >/dev/null 2>&1 || continue; \
	  seen="$$seen $$("$$python" -c 'import sys; print(sys.version.split()[0])' 2>/dev/null || true)"; \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Everystall needs Python 3.11 or newer; here is:$${seen:- none}." >&2; \
	  echo "Debian 12+, Ubuntu 24.04+:  sudo apt-get install python3 python3-venv" >&2; \
	  echo "macOS:                      brew install python@3.13" >&2; \
	  echo "Another place:              make PYTHON=/path/to/python3.12 …" >&2; \
	  exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  version=$$("$$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "This Python ($$found, $$version) cannot make virtual environments. The command that mends it:" >&2; \
	  echo "  sudo apt-get install python3-venv      (or python$$version-venv; as root without sudo)" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up: a virtual environment in $(VENV) ($$("$$found" -V))"; \
	[ -x $(PY) ] || rm -rf $(VENV); \
	"$$found" -m venv $(VENV); \
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-uv.lock
	@touch $@

# `ready` is what the product needs, `bull-ready` the extras `bull` and `sentry` besides, `ready-dev` what lint and tests need
# besides. Each holds the one before, so once it is there all are kept by the longest lock, and none undoes
# another.
$(VENV)/ready: $(VENV)/uv-ready requirements.lock
	@echo "Setting up: packages from the lock"
	@$(UV) pip sync --quiet --python $(PY) --require-hashes \
	  $(firstword $(if $(wildcard $(VENV)/ready-dev),requirements-dev.lock) \
	    $(if $(wildcard $(VENV)/bull-ready),requirements-bull.lock) requirements.lock)
	@$(LINK)
	@touch $@

$(VENV)/bull-ready: $(VENV)/ready requirements-bull.lock
	@echo "Setting up: BullMQ and Sentry from their lock"
	@$(UV) pip sync --quiet --python $(PY) --require-hashes \
	  $(if $(wildcard $(VENV)/ready-dev),requirements-dev.lock,requirements-bull.lock)
	@touch $@

$(VENV)/ready-dev: $(VENV)/uv-ready requirements-dev.lock
	@echo "Setting up: packages for lint and tests from the lock"
	@$(UV) pip sync --quiet --python $(PY) --require-hashes requirements-dev.lock
	@$(LINK)
	@touch $(VENV)/ready $@

# An S3 for the tests (moto), in an environment of its own: it and procrastinate want different versions of
# python-dateutil.
$(VENV)/s3-ready: $(VENV)/uv-ready requirements-s3.lock
	@echo "Setting up: an S3 for the tests from its lock"
	@[ -x $(VENV)/s3/bin/python ] || $(PY) -m venv --without-pip $(VENV)/s3
	@$(UV) pip sync --quiet --python $(VENV)/s3/bin/python --require-hashes requirements-s3.lock
	@touch $@

# browser-use pins thirty packages of its own choice, so it has an environment of its own, and is a process.
agent/.venv/ready: $(VENV)/uv-ready agent/requirements.lock
	@echo "Setting up: the agent, from its lock"
	@[ -x agent/.venv/bin/python ] || $(PY) -m venv --without-pip agent/.venv
	@$(UV) pip sync --quiet --compile-bytecode --python agent/.venv/bin/python --require-hashes agent/requirements.lock
	@touch $@

extension/node_modules/.ready: $(VENV)/ready-dev extension/package-lock.json
	@echo "Setting up: what checks the extension"
	@$(NPM) ci --silent --no-audit --no-fund --ignore-scripts || { \
	  echo "npm could not install what extension/package-lock.json lists: is the npm registry reachable?" >&2; exit 1; }
	@touch $@

benchmarks/lighthouse/node_modules/.ready: $(VENV)/ready-dev benchmarks/lighthouse/package-lock.json
	@echo "Setting up: Lighthouse"
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix benchmarks/lighthouse ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

clients/typescript/node_modules/.ready: $(VENV)/ready-dev clients/typescript/package-lock.json
	@echo "Setting up: what makes and checks the TypeScript client"
	@$(CLIENT) ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

tests/bull/node_modules/.ready: $(VENV)/ready-dev tests/bull/package-lock.json
	@echo "Setting up: a Node back end for the tests"
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix tests/bull ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

define OPENAPI
mkdir -p build && $(PY) -m everystall.web.openapi > build/openapi.json
endef

# The clone itself, without a build: its folder on the path of .venv, and the command `everystall`.
define LINK
printf '%s\n' '$(CURDIR)' > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/everystall.pth"; \
printf '#!/bin/sh\nexec "%s" -m everystall "$$@"\n' '$(CURDIR)/$(PY)' > $(BIN)/everystall; \
chmod +x $(BIN)/everystall
endef
