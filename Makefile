# Every target makes its own virtual environment; all it needs is python3 (3.11 or newer) with venv and pip, and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow simulate simulate-errands sabotage lint bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/demo.stamp  ## post a chat, kill the server, prove that nothing was lost; ARGS="--log FOLDER" replays IRC logs
	@$(BIN)/durable-rooms demo $(ARGS)

test: $(VENV)/dev.stamp  ## the tests, on all processors; ARGS="-k name" picks some
	@$(BIN)/python -m pytest -q -n auto --dist worksteal $(ARGS)

test-slow: $(VENV)/dev.stamp  ## only the long ones
	@$(BIN)/python -m pytest -q -m slow $(ARGS)

simulate: $(VENV)/demo.stamp  ## 1,000 simulated worlds, 180,000 power cuts (50 minutes on 2 cores); ARGS="--seeds 50" or your own MODULE:SCENARIO
	@$(BIN)/durable-rooms simulate --seeds 1000 $(ARGS)

simulate-errands: $(VENV)/demo.stamp  ## the same of rooms that call and tell one another, with alarms, keys and deletes (40 minutes)
	@$(BIN)/durable-rooms simulate durable_rooms.simulation:ErrandScenario --seeds 1000 $(ARGS)

sabotage: $(VENV)/dev.stamp  ## known-bad variants of the product against the simulator; ARGS="--json", or words of their names
	@$(BIN)/python -m tests.sabotage $(ARGS)

lint: $(VENV)/dev.stamp  ## ruff (format and lint), basedpyright
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: $(VENV)/bench.stamp  ## every benchmark beside its ceiling; ARGS="hot_room --quick" picks
	@$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist

# One environment, one stamp per extra: nothing is installed again until pyproject.toml changes.
$(VENV)/%.stamp: pyproject.toml | $(BIN)/python
	@echo "installing durable-rooms[$*] into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "durable-rooms needs Python 3.11 or newer; choose one: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
