# make audit  - a real audit on this machine, from nothing        make test  - every test that this machine can run
# make check  - format, lint, types, layers, documentation         make help  - all targets
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
STORE ?= store
RECIPE ?= fmnist-quick
# One of the two runs all that starts Ray (tests/conftest.py).
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadgroup

# Its banner speaks of an MkDocs 2 that nothing here uses.
export NO_MKDOCS_2_WARNING := 1

.PHONY: help install audit paper test quick unit check format docs s3 serve lock sbom clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml constraints.txt scripts/make_venv.sh
	sh scripts/make_venv.sh .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/installed ## virtual environment with pinned packages; does nothing the second time

audit: install ## train a zoo, audit every suspect, write reports/fmnist-quick/report.html
	$(PYTHON) -m zooaudit audit --recipe $(RECIPE) --store $(STORE) --fallback digits

paper: install ## every study of the paper on fmnist-paper: takes hours, goes on where it stopped; then docs/reproduction.md
	$(PYTHON) -m zooaudit study all --recipe fmnist-paper --store $(STORE) --build --out docs/reproduction/fmnist-paper
	$(PYTHON) benchmarks/reproduction.py

test: install ## all tests that this machine can run; says what it left out and why
	$(PYTEST)

quick: install ## the same without the long ones: what CI runs
	$(PYTEST) --quick

unit: install ## the tests that need no server, no Ray and no processes of their own
	$(PYTEST) --quick -m "not (processes or ray or s3 or serve or browser or fuzz or soak or chaos or gpu or network)"

check: install ## format, lint, types, layer contract, and the documentation's site, strictly
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/mypy benchmarks --exclude 'benchmarks/.+/'
	.venv/bin/lint-imports
	$(PYTHON) -m mkdocs build --strict --quiet

docs: install ## the documentation as a site, in site/: begin at site/index.html
	$(PYTHON) -m mkdocs build --strict
	@echo site/index.html

format: install ## put the code into shape
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

s3: install ## an S3 server on this machine, data in s3-data; prints what to export
	$(PYTHON) cluster/seaweed.py

serve: install ## SeaweedFS, Ray Serve and the console on this machine, with the kits of STORE; Ctrl-C stops all
	$(PYTHON) cluster/one_machine.py --copy $(STORE)

# The tested set of constraints.txt, with the hashes of every file: the index is PyPI, whatever this machine is told to use.
lock: install ## write uv.lock anew, after a change of constraints.txt or pyproject.toml
	.venv/bin/uv lock --no-config --default-index https://pypi.org/simple $$(sed '/^#/d; s/^/-P /' constraints.txt)

sbom: install ## the image's packages with their hashes, as CycloneDX, in sbom.json
	.venv/bin/uv export --quiet --frozen --extra cluster --extra serve --format cyclonedx1.5 --output-file sbom.json
	@echo sbom.json

clean: ## remove the virtual environment and caches; keeps stores and reports
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
