# make demo: see it work.  make test: run the suite.  make bench: measure.  make soak: hours of damage.
# Each sets up what it needs in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: demo test bench soak lint types imports check clean

demo: $(STAMP)
	rm -rf demo
	$(BIN)/pfs-ingestd demo -c config/demo.yaml

test: $(STAMP)
	$(BIN)/pytest -n 4 --dist worksteal

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
	rm -rf $(VENV) demo build

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[postgresql]' --group dev
	touch $@
