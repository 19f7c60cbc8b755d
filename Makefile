# make run | make test | make test-fast | make ui | make lint | make clean: each makes the environment first where it is missing
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := minilm,formats,crf,noise,constrained,joblib,submitit,optuna,ray,server,docs,test
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: env run test test-fast test-slow ui lint docs clean bench bench-llm bench-stats evidence

env: $(STAMP)

run: $(STAMP)
	$(BIN)/python run.py -m hydra/launcher=local mixture=gold,gold_silver,gold_bronze,gold_silver_bronze

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term -m "not slow"
	@$(BIN)/python -m coverage report --fail-under=85 > /dev/null || { echo "branch coverage of src is under 85 %"; exit 1; }

# Everything but tests/end_to_end, which start the command dozens of times.
test-fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --ignore tests/end_to_end

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

ui: $(STAMP)
	$(BIN)/touchstone ui --port $(or $(PORT),5000)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

# The pages of docs/ as HTML in docs/_build; any warning fails.
docs: $(STAMP)
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build

# All are run, whatever misses its limit. What ours is compared with is installed here, not by `make env`.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS),bench]"
	@status=0; for part in grid duplicates encode finetune noteevents; do \
		echo; echo "benchmarks/$$part.py"; $(BIN)/python benchmarks/$$part.py || status=1; \
	done; exit $$status

# Both papers' questions on public expert labels, from shipped recordings: docs/evidence.md. Corpora are looked for in TOUCHSTONE_DATA.
evidence: $(STAMP)
	$(BIN)/python benchmarks/evidence.py

bench-llm: $(STAMP)
	$(BIN)/python benchmarks/llm.py

bench-stats: $(STAMP)
	$(BIN)/python benchmarks/stats.py

clean:
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* multirun outputs out src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@test ! -d mlflow || echo "kept: mlflow/ holds your results; remove it by hand if you mean it"

# hydra-ray-launcher asks for a cloudpickle that is too old for joblib, and works with today's.
# A pip of 2023, which Python 3.11 brings, takes five minutes to resolve what one of 2026 resolves in half a minute.
# Torch first and alone: asked for together with the rest, pip may take a build with gigabytes of CUDA libraries.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not on the PATH; name another with PYTHON=..., 3.11 or newer"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=26"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps hydra-ray-launcher==1.2.2
	@touch $(STAMP)
