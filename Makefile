# One command each; every one sets up .venv first. PYTHON is any Python from 3.10 on.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo

.PHONY: demo test check bench docs reference clean

demo: $(VENV)/.ready  ## RankDVQA to RankDVQA-mini on built-in content, eight to ten minutes on two cores
	$(BIN)/compressvqa run recipes/rankdvqa_mini.yaml --out $(RUN)

# Tests start hundreds of programs: each would compile this package anew where Python may not keep what it compiled.
test check: export PYTHONDONTWRITEBYTECODE =

# Files in the order in which they stand: doctests, which take no time, come last, and neither process waits for the other.
test: $(VENV)/.ready  ## every test, doctest and example of the documents
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(VENV)/.ready  ## style, types, and the tests that take under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow"

bench: $(VENV)/.ready  ## measures the claims; tables go to benchmarks/results/
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

docs: $(VENV)/.ready  ## the site, into build/site/html; fails on a warning, a dead link and a page that is not what the code says
	$(BIN)/python -m scripts.pages --check
	$(BIN)/python -m scripts.pages --build

reference: $(VENV)/.ready  ## writes the pages that are generated out of the code: commands, recipe, names, Python, networks
	$(BIN)/python -m scripts.pages --write

clean:  ## removes the environment and the demo's run, not other runs
	rm -rf $(VENV) $(RUN) .pytest_cache .mypy_cache .ruff_cache

# A Python without the venv module's pip (Debian's python3 alone) is told what to install.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "compressvqa needs Python 3.10 or newer: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "this Python has no venv: install python3-venv, or make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
