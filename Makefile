# make demo | make test | make check: each sets up the environment first, if need be
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# LOCK=constraints.txt installs the versions that are written down there, else the newest that pyproject.toml allows
LOCK ?=
MODELS = $(addsuffix -small, calibration anomaly detection counting quality reid outfit ltr)

.DEFAULT_GOAL := help
.PHONY: help setup lock demo docs test test-long check format evidence evidence-ltr evidence-kill evidence-anomaly evidence-calibration evidence-quality \
	evidence-reid evidence-outfit evidence-counting evidence-detection evidence-bench evidence-faults evidence-memory evidence-versions bench-env small clean

help:
	@echo "make setup     the environment in $(VENV), with everything that development needs"
	@echo "make demo      train on real digits, predict with every small model, one page of it; two minutes after the setup"
	@echo "make test      the tests"
	@echo "make docs      the handbook in build/site"
	@echo "make check     ruff, mypy, import-linter, and every recipe"
	@echo "make format    ruff format and ruff --fix"
	@echo "make evidence  the long runs on real data behind the figures in the cards"

# made again only when pyproject.toml changed
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rankzoo needs Python 3.11 or later: make PYTHON=python3.12")'
	@echo "setting up $(VENV) (a few minutes, mostly PyTorch)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(LOCK),--constraint $(LOCK)) --editable '.[dev]'
	@touch $@

setup: $(VENV)/.ready

# writes the versions of this environment down
lock: setup
	@{ echo "# Written by make lock; make setup LOCK=constraints.txt installs these."; \
		$(BIN)/python -m pip freeze --exclude-editable | grep '==' | sed 's/+cu[0-9]*$$//'; } > constraints.txt

# the main job on real data that scikit-learn carries, and each packed model on the sample that comes with it
demo: setup
	@$(BIN)/zoo train calibration/demo --name demo --overwrite
	@for model in $(MODELS); do echo; $(BIN)/zoo predict $$model --sample --out runs/demo/predictions/$$model || exit; done
	@$(BIN)/zoo report runs/demo --predictions $(MODELS:%=runs/demo/predictions/%)
	@echo "open runs/demo/report.html, then try:"
	@echo "  zoo train calibration/demo --model.objective MbLS --name mbls       another objective"
	@echo "  zoo report runs/demo runs/mbls                                      both side by side, with intervals"
	@echo "  zoo list recipes                                                    the other domains"

# the handbook, generated, notebooks executed, warnings as errors
docs: $(VENV)/.docs
	@$(BIN)/python docs/make_docs.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html"

$(VENV)/.docs: $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

# tests that take many minutes each
test-long: setup
	@$(BIN)/python -m pytest -m long

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/zoo check recipes/*/*.yaml

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

evidence: evidence-ltr evidence-kill evidence-anomaly evidence-calibration evidence-quality evidence-reid evidence-outfit \
	evidence-counting evidence-detection evidence-bench evidence-faults evidence-memory

# every score loss on MQ2008, 5 seeds x 5 folds; writes the table of zoo/domains/ltr/README.md
evidence-ltr: setup
	@$(BIN)/python evidence/ltr.py

# ten kills, each resumed; exits 0 only if the end is identical to an uninterrupted run
evidence-kill: setup
	@$(BIN)/python evidence/kill.py --kills 10 --trainer.max_epochs 60

# every domain's demo killed, starved of disk and data, fed dirty data; every reader fuzzed: docs/faults.md
evidence-faults: setup
	@$(BIN)/python evidence/faults.py

# resident memory of every demo over 2,000 steps, and inputs of the largest sizes: runs/evidence/memory.csv
evidence-memory: setup
	@$(BIN)/python evidence/memory.py

# all tests with the lowest versions that pyproject.toml allows, and with the newest: into docs/faults.md, by evidence-faults
evidence-versions: setup
	@$(BIN)/python evidence/versions.py

# the claims of the domains on real data, each against its baselines, five seeds: the tables of their cards
evidence-anomaly evidence-calibration evidence-quality evidence-reid evidence-outfit evidence-counting evidence-detection: evidence-%: setup
	@$(BIN)/python evidence/$*.py

# the peers of zoo bench losses, in an environment on top of the other: two of them would pull in an ancient torch
bench-env: setup
	@$(BIN)/python -m venv $(VENV)/bench
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$($(VENV)/bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zoo.pth
	@$(VENV)/bench/bin/python -m pip install --quiet --no-deps allRank==1.4.3 libauc==2.0.1 pytorch-metric-learning==2.9.0 pycocotools==2.0.11

# the small models that come with the package, trained and published anew
small: setup
	@$(BIN)/python evidence/small.py

# the ranking core beside its peers; writes docs/bench.md and the growth plot
evidence-bench: bench-env
	@$(BIN)/python evidence/bench.py

clean:
	rm -rf $(VENV)
