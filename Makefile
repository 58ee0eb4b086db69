# Everything from a clean clone: Python 3.11 or later and make are enough.
PYTHON ?= python3
LAKE ?= data_lake
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
DEI := .venv/bin/dei

.PHONY: run test ui clean

run: .venv/run.stamp
	@$(DEI) demo --if-empty --lake $(LAKE)
	$(DEI) run --lake $(LAKE)

test: .venv/test.stamp
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder

ui: .venv/run.stamp
	$(DEI) ui --lake $(LAKE)

clean:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python constraints.txt pyproject.toml
	sed '/^# --- test extras/,$$d' constraints.txt > .venv/run.txt
	$(PIP) install --no-deps --require-hashes --requirement .venv/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test.stamp: .venv/run.stamp
	$(PIP) install --no-deps --require-hashes --requirement constraints.txt
	@touch $@
