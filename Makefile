# make demo: see it work.  make test: run the suite.  make bench: measure.  make soak: hours of damage.
# make test-oldest: nearly all of it with the oldest releases that will do (.ci/oldest.txt).
# Each sets up what it needs in .venv or .venv-oldest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
OLDEST := .venv-oldest
# What asks something of other packages; of the whole program what is done by command, and a night: see
# docs/decisions/releases.md.
OLDEST_TESTS := $(addprefix tests/,conformance integration \
	$(addprefix unit/test_,assembly.py by_hand.py commands.py config.py corrections.py docs.py doctor.py \
		fits_walk.py install.py logs.py pfs_headers.py raw.py raw_header.py releases.py repository_memory.py \
		shipped.py simulate.py verdict.py workers.py) \
	$(addprefix system/test_,audit.py beside_a_person.py by_command.py operators.py watched_night.py))
OLDEST_LEFT_OUT := $(addprefix tests/integration/test_,kill_points.py half_written.py outages.py)

# Without bytecode each of the hundreds of processes that the tests start compiles the whole program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-oldest environments bench soak lint types imports check clean

demo: $(STAMP)
	rm -rf demo
	$(BIN)/pfs-ingestd demo -c config/demo.yaml

test: $(STAMP)
	$(BIN)/pytest -n 4 --dist worksteal

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/pytest -n 4 --dist worksteal -p no:cacheprovider $(OLDEST_TESTS) $(OLDEST_LEFT_OUT:%=--ignore=%)

# For .ci/run: not at once, for both write to what pip keeps of this folder.
environments: $(STAMP) $(OLDEST)/installed

bench: $(STAMP)
	$(BIN)/python -m benchmarks

soak: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m soak.soak

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

check: test lint types imports

clean:
	rm -rf $(VENV) $(OLDEST) demo build

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[postgresql,s3]' --group dev
	touch $@

$(OLDEST)/installed: pyproject.toml .ci/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade pip
	$(OLDEST)/bin/python -m pip install --quiet --constraint .ci/oldest.txt --editable '.[postgresql,s3]' --group test
	touch $@
