# make run   the demonstration       make test  style, types and all tests
# make bench the figures as JSON     make clean what this file has made
#
# Each sets up what it needs: Debian's mosquitto, and everything else in .venv.

PYTHON ?= python3
SPEED ?= 60
VENV := .venv
READY := $(VENV)/.ready

.PHONY: run test bench clean

run: $(READY)
	@$(VENV)/bin/tentwatch demo --speed $(SPEED)

test: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest

bench: $(READY)
	@$(VENV)/bin/python -m tests.bench

$(READY): setup.cfg pyproject.toml Makefile
	@tests/prepare-machine
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
