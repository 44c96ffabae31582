# Two commands do everything: `make demo` and `make test`. Each makes the environment it needs first, in .venv.
# Another Python: make test PYTHON=python3.12. Another place: make test VENV=/tmp/env.

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo_report

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PACKAGING := setup.cfg pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test docs bench quality study clean

help:
	@echo "make demo   run the whole path on bundled photographs and write a report to $(OUT)/"
	@echo "make test   check the style and run the tests"
	@echo "make docs   build the documentation, warnings as errors"
	@echo "make bench  run the benchmarks"
	@echo "make quality  compare all selectors, and those of other packages, on planted copies and outliers (an hour)"
	@echo "make study  what selection does for quality models, with real labels (seven hours; needs the test data, and ffmpeg)"
	@echo "make clean  remove the environment and everything built"

# The three stamps below are files: an environment that is up to date costs nothing on the next call. The package is
# installed in editable mode, so a change of the code needs no new installation.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 10) else \
	"patchdistill needs Python >= 3.10, but $(PYTHON) is " + v + ". Name a newer one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created $(PACKAGING)
	@echo "Installing what the demonstration needs in $(VENV) (a minute or two, the first time only) ..."
	$(PIP_INSTALL) --editable '.[cli,viz,demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.created $(PACKAGING)
	@echo "Installing what the tests and the documentation need in $(VENV) (a minute or two, the first time only) ..."
	$(PIP_INSTALL) --editable '.[test,docs]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/patchdistill demo --out $(OUT)
	@echo "The report is $(abspath $(OUT)/report.html); open it in a browser."

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

docs: $(VENV)/.test
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "The documentation is in $(abspath docs/_build/html/index.html)"

bench: $(VENV)/.test
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

# Other packages are compared with where they install; the benchmark names those that do not.
quality: $(VENV)/.test
	@set -e; while read -r peer; do $(PIP_INSTALL) "$$peer" || echo "$$peer does not install here"; done < benchmarks/peers.txt
	$(BIN)/python benchmarks/bench_selection_quality.py

study: $(VENV)/.test
	$(BIN)/python benchmarks/study_downstream.py
	$(BIN)/python benchmarks/study_sensitivity.py
	$(BIN)/python benchmarks/study_end_to_end.py
	$(BIN)/python benchmarks/study_panoramas.py
	$(BIN)/python benchmarks/study_qfm.py
	$(BIN)/python benchmarks/study_relational.py
	$(BIN)/python benchmarks/study_map_energy.py

clean:
	rm -rf $(VENV) $(OUT) build docs/_build docs/generated .pytest_cache .hypothesis .ruff_cache *.egg-info
