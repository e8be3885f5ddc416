# Two commands, each with all its own set-up: `make study` is the main job, `make test` checks everything.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# More arguments for the study: make study ARGS='--site fra'
ARGS   ?=

.PHONY: study test check clean
.DEFAULT_GOAL := study

study: $(VENV)/.lab
	$(BIN)/lowcarb study run studies/mini.yaml --report out/mini.html $(ARGS)

test: $(VENV)/.dev check
	$(BIN)/pytest -q

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A stamp each, renewed when what is to be installed changes.
$(VENV)/.lab: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[lab]'
	touch $@

$(VENV)/.dev: $(VENV)/.lab
	$(PIP) install --quiet --constraint constraints.txt --editable '.[lab,dev]'
	touch $@

clean:
	rm -rf $(VENV) out
