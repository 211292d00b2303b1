# Every target but help and clean bootstraps .venv first (scripts/setup.sh; one command is enough).
BIN := .venv/bin
SETUP := scripts/setup.sh
# A process for each core, which computes with one thread: files of tests are dealt out whole.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile
DEMO := demo
TRAIN_DEMO := train-demo

.DEFAULT_GOAL := help
.PHONY: help demo train-demo test test-all lint docs bench clean

help: ## print these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## make a synthetic patient and diagnose it with the shipped weights
	@$(SETUP)
	@test -f $(DEMO)/patient/seriesuids.csv || rm -rf $(DEMO)
	test -d $(DEMO)/patient || $(BIN)/luna phantom $(DEMO)/patient --scans 1 --seed 2 --quiet
	$(BIN)/luna diagnose $(DEMO)/patient/subset0/*.mhd --out $(DEMO)/report --force

train-demo: ## train both networks on synthetic scans and judge them on others, minutes
	@$(SETUP)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/train_demo.sh $(TRAIN_DEMO)

test: ## the default suite, minutes
	@$(SETUP)
	$(PYTEST)

test-all: ## the slow tests too
	@$(SETUP)
	$(PYTEST) -m ""

lint: ## ruff, mypy, import-linter, and the documentation built strictly
	@$(SETUP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/lint-imports
	$(BIN)/python -m mkdocs build --quiet

docs: ## build the documentation as a site, into site/
	@$(SETUP)
	$(BIN)/python -m mkdocs build

bench: ## time diagnose against the book's way: make bench SCAN=… WEIGHTS=…
	@$(SETUP)
	$(BIN)/python scripts/bench_diagnose.py $(SCAN) --weights $(WEIGHTS)

clean: ## remove .venv, caches and the demos
	rm -rf .venv site $(DEMO) $(TRAIN_DEMO) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
