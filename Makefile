# The verbs of this repository; each sets up what it needs.
.PHONY: setup demo demo-cluster test soak lint types e2e autobahn bench bench-protocols docs lock runtime clean

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin

setup: $(VENV)/.installed runtime

# The build tools too (uv, hatchling) are pinned by hash, so nothing is fetched that a lock file does not have.
$(VENV)/.installed: pyproject.toml requirements.lock requirements-build.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock requirements-build.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	touch $@

# The browser's files: the reducer's image for MicroPython, Pyodide trimmed to what it needs, the loader, the styles.
runtime: $(VENV)/.installed
	$(BIN)/python -m widget.build

demo: setup
	$(BIN)/touchline demo

# All tiers on this machine: Kafka, three regions with a Redis each, nginx (docs/cluster.md).
demo-cluster: setup
	sh testkit/services/install.sh
	$(BIN)/python -m deploy.cluster

# Servers and browsers that the tests start: Debian's packages where there is apt, else what is installed.
# Three files of tests at a time: most of them wait. What fails beside two others is run once more, alone and by name
# (CONTRIBUTING.md says what to do with a test that needed it).
test: setup
	sh testkit/services/install.sh
	$(BIN)/pytest -n 3 --dist loadfile || $(BIN)/pytest -v --last-failed --last-failed-no-failures=none

# What takes long: a simulated Saturday, a million damaged documents, the reducer's whole corpus on every runtime, 500
# drawn networks before real browsers (more than 40 min).
soak: setup
	$(BIN)/python -m tests.faults.test_saturday 1 10 api-football-v3
	$(BIN)/python -m tests.faults.test_saturday 1 3 espn-scoreboard football-data-v4 stats-perform-ma1
	$(BIN)/python -m tests.feeds.fuzz_matching 1000000
	$(BIN)/python -m tests.feeds.hostile_documents 1000000
	$(BIN)/python -m tests.widget.equality --scale 43
	sh testkit/services/install.sh
	SOAK_NETWORKS=500 SOAK_BESIDE=25 $(BIN)/pytest -k fresh_or_says e2e/test_freshness_property.py

e2e: setup
	sh testkit/services/install.sh
	$(BIN)/pytest e2e

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Python by mypy --strict; the widget's JavaScript by TypeScript, from its JSDoc.
types: setup
	$(BIN)/mypy
	.cache/widget/npm/node_modules/.bin/tsc -p widget/src/tsconfig.json
	.cache/widget/npm/node_modules/.bin/tsc -p widget/src/tsconfig.sw.json
	.cache/widget/npm/node_modules/.bin/tsc -p origin/console/static/tsconfig.json

# The WebSocket conformance suite; needs a Python 2.7.
autobahn: setup
	$(BIN)/python -m bench.autobahn

bench: setup
	$(BIN)/python -m bench

# The docs as a static site in var/site; a link that leads nowhere fails.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --config-file docs/site/mkdocs.yml

# What five protocols cost for the same match (docs/lab.md).
bench-protocols: setup
	$(BIN)/python -m bench.bench_protocols

# Pins every dependency with its hashes, and without the address it came from.
lock: COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11
# Of the development environment, of what an image installs beside the wheel, and of what builds. With
# UPGRADE=--upgrade it takes the newest versions.
lock: $(VENV)/.installed
	$(COMPILE) $(UPGRADE) --all-extras --group dev --group docs --group audit pyproject.toml -o requirements.lock
	$(COMPILE) --all-extras --constraint requirements.lock pyproject.toml -o requirements-runtime.lock
	$(COMPILE) --constraint requirements.lock requirements-build.in -o requirements-build.lock

.PHONY: audit sbom notices wheel

# Known vulnerabilities of what is locked. Exit code 1: there are some; 3: the advisory data could not be reached.
audit: setup
	$(BIN)/python -m deploy.release.audit

# The bill of materials of what is shipped, as CycloneDX, in dist/touchline.cdx.json.
sbom: setup
	$(BIN)/python -m deploy.release.sbom

# THIRD-PARTY-NOTICES.md, from what the wheel has in it.
notices: setup
	$(BIN)/python -m deploy.release.notices

# dist/touchline-VERSION-py3-none-any.whl, with the widget in it.
wheel: setup
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist

clean:
	rm -rf $(VENV) .cache widget/dist dist var
