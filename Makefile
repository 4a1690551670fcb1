# All that a developer does, by name: `make` lists it. Works with GNU make 3.81 and later.

PYTHON_BIN := .venv/bin/python
DEMO_STAMP := .venv/.installed-demo
DEV_STAMP  := .venv/.installed-dev
RELEASE_STAMP := .venv/.installed-release
IMAGE_EXTRAS = $(shell sed -n 's/^ARG EXTRAS="\(.*\)"/\1/p' deploy/Dockerfile)
LOCKED     := pyproject.toml requirements/constraints.txt requirements/uv.txt requirements/install.sh

export PYTHON
export PYTHONNOUSERSITE = 1
unexport PYTHONPATH
unexport PYTHONHOME
# The tests start dozens of processes, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(DEMO_STAMP) ## the reference search before and after; ONCE=1 ends after it; PORT=, ADMIN_PORT=, ES_VERSION=
	@$(PYTHON_BIN) -m demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT)) \
	    $(if $(ADMIN_PORT),--admin-port $(ADMIN_PORT)) $(if $(ES_VERSION),--es-version $(ES_VERSION))

.PHONY: test
test: $(DEV_STAMP) ## all tests, with a real Elasticsearch, in lanes side by side; ARGS= goes to pytest
	$(PYTHON_BIN) -m tests.lanes $(ARGS)

.PHONY: test-long
test-long: $(DEV_STAMP) ## all tests with many random examples, and more of them against every Elasticsearch
	$(PYTHON_BIN) -m tests.lanes --long $(ARGS)

.PHONY: test-quick
test-quick: $(DEV_STAMP) ## the tests that need no Elasticsearch
	$(PYTHON_BIN) -m pytest --ignore=tests/live --ignore=tests/clients $(ARGS)

.PHONY: clients
clients: $(DEV_STAMP) ## programs of Elasticsearch's clients in their languages; NOTEBOOKS= a folder of some; ARGS=
	$(if $(NOTEBOOKS),NOTEBOOKS="$(abspath $(NOTEBOOKS))") $(PYTHON_BIN) -m pytest tests/clients $(ARGS)

.PHONY: differential
differential: $(DEV_STAMP) ## random searches here and in Elasticsearch's own code, until they differ; EXAMPLES=
	DIFFERENTIAL_EXAMPLES=$(or $(EXAMPLES),1000000000) $(PYTHON_BIN) -m pytest \
	    tests/live/test_native_reranker.py --long -k test_any_search -s $(ARGS)

.PHONY: lint
lint: $(DEV_STAMP) ## ruff: rules and layout
	$(PYTHON_BIN) -m ruff check .
	$(PYTHON_BIN) -m ruff format --check .

.PHONY: types
types: $(DEV_STAMP) ## mypy, strict
	$(PYTHON_BIN) -m mypy

.PHONY: format
format: $(DEV_STAMP) ## lay the code out, and fix what can be fixed
	$(PYTHON_BIN) -m ruff check --fix .
	$(PYTHON_BIN) -m ruff format .

.PHONY: docs
docs: $(DEV_STAMP) ## what is made from tables: pages of settings and clients, the dashboard, the chart's files
	$(PYTHON_BIN) -m rerank_proxy.settings.page > docs/settings.md
	$(PYTHON_BIN) -m tests.clients.page > docs/compatibility.md
	$(PYTHON_BIN) -m deploy.monitoring.dashboard > deploy/monitoring/dashboard.json
	$(PYTHON_BIN) -m deploy.made_files

.PHONY: pictures
pictures: $(DEV_STAMP) ## docs/pictures of the playground, the status page and the judge's page, from the demo's films: look at them
	$(PYTHON_BIN) -m docs.site.pictures

.PHONY: site
site: $(DEV_STAMP) ## the documentation as a site in build/site, which is read without a server or a network
	NO_MKDOCS_2_WARNING=1 $(PYTHON_BIN) -m mkdocs build

.PHONY: bench
bench: $(DEV_STAMP) ## the benchmarks; ARGS= goes to them
	$(PYTHON_BIN) -m benchmarks $(ARGS)

.PHONY: soak
soak: $(DEV_STAMP) ## random calls, cancels, deadlines and faults in the engine; MINUTES=10, SEED= repeats one, ARGS=
	$(PYTHON_BIN) -m benchmarks.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: dist
dist: $(RELEASE_STAMP) ## dist/ with the source distribution and the wheel, checked; REPOSITORY= its address
	$(PYTHON_BIN) -m deploy.release.distributions $(if $(REPOSITORY),--repository $(REPOSITORY))

.PHONY: smoke
smoke: $(RELEASE_STAMP) ## the wheel of dist/ in new environments, on Python 3.11 to 3.13; PYTHONS= other ones
	$(PYTHON_BIN) -m deploy.release.smoke $(foreach version,$(PYTHONS),--python $(version))

.PHONY: sbom
sbom: $(DEV_STAMP) ## build/sbom with the bill of materials and the licences of what the image has
	rm -rf build/runtime
	.venv/bin/uv venv --quiet --python $(PYTHON_BIN) build/runtime
	.venv/bin/uv pip install --quiet --python build/runtime --constraints requirements/constraints.txt \
	    --requirement pyproject.toml $(IMAGE_EXTRAS:%=--extra %)
	$(PYTHON_BIN) -m deploy.release.licences --python build/runtime/bin/python build/sbom

.PHONY: fuzz
fuzz: $(DEV_STAMP) ## ever other bytes to what reads them; MINUTES=2 for each target, TARGET= names one, ARGS=
	$(PYTHON_BIN) -m tests.fuzz --minutes $(or $(MINUTES),2) $(if $(TARGET),--target $(TARGET)) $(ARGS)

.PHONY: install
install: $(DEV_STAMP) ## .venv with the project and all that developing it takes; PYTHON= names the interpreter

$(DEMO_STAMP): $(LOCKED)
	@requirements/install.sh demo

$(DEV_STAMP): $(LOCKED)
	@requirements/install.sh dev

$(RELEASE_STAMP): $(LOCKED)
	@requirements/install.sh release

.PHONY: lock
lock: ## renew requirements/constraints.txt from pyproject.toml; UPGRADE=1 takes newer versions too
	@requirements/install.sh
	.venv/bin/uv pip compile pyproject.toml --group dev --group release --universal --python-version 3.11 \
	    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --quiet \
	    $(if $(UPGRADE),--upgrade) --output-file requirements/constraints.txt

.PHONY: clean-cache
clean-cache: ## remove the copies of Elasticsearch in .cache
	rm -rf .cache

.PHONY: clean
clean: ## remove .venv and what tools left; the copies of Elasticsearch stay
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
