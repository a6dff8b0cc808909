# make run          the demonstration
# make test         style, types and all tests
# make bench        measures start-up, memory, processor time … and prints JSON
# make accuracy     measures the accuracy of the sensors and prints JSON
# make fuzz         feeds noise to the parsers
# make bundle       builds dist/: installs a Pi without internet
# make install-test tests the bundle on clean Debians 12 and 13, as root; QUICK=1: the short form
# make vm-test      tests the whole unit in a virtual machine, as root; QUICK=1: the short form
# make words        updates the catalogues in technician/words/locale from the texts in the source
# make symptoms     writes the tables of troubles in docs/symptoms.md from their declarations
# make lock         pins the libraries that a Pi installs: systemd/*.lock
# make clean        removes everything that this file has made
#
# Each target installs what it needs: Debian's mosquitto, and everything else in .venv.

PYTHON ?= python3
SPEED ?= 60
# Number of tests that run in parallel: most wait more than they compute.
WORKERS ?= 6
VENV := .venv
READY := $(VENV)/.ready
# A code generator for TypeScript: a test reads messages with what it makes of the schemas.
MODELINA := $(VENV)/modelina/.ready

.PHONY: run test bench accuracy fuzz bundle install-test vm-test lock words symptoms clean

run: $(READY)
	@$(VENV)/bin/tentwatch demo --speed $(SPEED)

test: $(READY) $(MODELINA)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal

bench: $(READY)
	@$(VENV)/bin/python -m tests.bench

accuracy: $(READY)
	@$(VENV)/bin/python -m tests.accuracy

fuzz: $(READY)
	HYPOTHESIS_PROFILE=fuzz $(VENV)/bin/python -m pytest tests/test_fuzz.py tests/test_security_commands.py

# For every Python that is supported. build.lock: what builds this project, and the one library that
# comes as its source only.
LOCK := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock"
lock: $(READY)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/$(LOCK) setup.cfg -o systemd/requirements.lock
	printf 'setuptools>=68\nsetuptools-scm\n' | \
	  $(VENV)/bin/$(LOCK) - -c systemd/requirements.lock -o systemd/build.lock

# A new language: pybabel init -i FILE.pot -D tentwatch -d technician/words/locale -l LANGUAGE
POT := $(VENV)/tentwatch.pot
words: $(READY)
	$(VENV)/bin/pybabel -q extract -k marked -k counted:1,2 --no-location --omit-header --sort-output --width=100 -o $(POT) sensors publisher technician
	$(VENV)/bin/pybabel -q update -i $(POT) -D tentwatch -d technician/words/locale --no-fuzzy-matching --omit-header --ignore-obsolete --width=100
	$(VENV)/bin/python -m tests.words

symptoms: $(READY)
	$(VENV)/bin/python -m tests.symptoms

bundle: $(READY)
	$(VENV)/bin/python -m tests.bundle

# Here and below, QUICK reaches the tests by the environment.
install-test: $(READY)
	$(VENV)/bin/python -m pytest -v tests/install

vm-test: $(READY)
	$(VENV)/bin/python -m pytest -v tests/vm

$(READY): setup.cfg pyproject.toml Makefile
	@tests/prepare-machine
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Where npm or its registry is out of reach, the test is skipped, and says so.
$(MODELINA): $(READY) tests/modelina/package-lock.json
	@mkdir -p $(@D)
	@cp tests/modelina/package.json tests/modelina/package-lock.json $(@D)
	@{ command -v npm >/dev/null || tests/prepare-machine npm; } && \
	  npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent && touch $@ || \
	  echo "NOT TESTED: the TypeScript model of the schemas, because Modelina could not be installed"

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
