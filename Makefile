# Every target sets up .venv first when there is none; a second call starts at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo up test check messages bench clean
.DELETE_ON_ERROR:

setup: $(VENV)/.setup

demo: setup
	$(BIN)/rwkv-rag demo

up: setup
	$(BIN)/rwkv-rag up

test: check
	$(BIN)/pytest

check: $(VENV)/.setup-dev
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

messages: $(VENV)/.setup-dev
	$(BIN)/python scripts/catalogue.py

bench: $(VENV)/.setup-dev
	@echo "speed of the model in the package, then what a user feels, then the rwkv package beside it,"
	@echo "then fine-tuning"
	@echo "(the third writes about 1 GB of random weights to the temporary directory; some minutes)"
	$(BIN)/rwkv-rag bench
	$(BIN)/python benchmarks/product.py
	$(BIN)/python benchmarks/compare_rwkv.py
	$(BIN)/python benchmarks/tuning.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# constraints.txt holds `torch==2.13.0`: pip takes a CPU build of it where the index offers one.
$(VENV)/.setup: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV); the first time takes some minutes"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ui,api,tune]'
	touch $@

$(VENV)/.setup-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV); the first time takes some minutes"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ui,api,tune,wandb,dev]'
	touch $@ $(VENV)/.setup
