# Every target but help and clean bootstraps .venv first (scripts/setup.sh; one command is enough).
BIN := .venv/bin
SETUP := scripts/setup.sh
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench clean

help: ## print these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: ## make a synthetic patient and diagnose it: make demo WEIGHTS=path/to/weights
	@test -n "$(WEIGHTS)" || { printf 'error: luna ships no weights yet\n\nhint: make demo WEIGHTS=…, a folder of bundles or of .state files (README.md says where to get them)\n' >&2; exit 2; }
	@$(SETUP)
	rm -rf $(DEMO)
	$(BIN)/luna phantom $(DEMO)/patient --scans 1 --seed 2
	$(BIN)/luna diagnose $(DEMO)/patient/subset0/*.mhd --weights $(WEIGHTS) --out $(DEMO)/report

test: ## the default suite, minutes
	@$(SETUP)
	$(BIN)/python -m pytest -q

test-all: ## the slow tests too
	@$(SETUP)
	$(BIN)/python -m pytest -q -m ""

lint: ## ruff, mypy, the storeys' contracts
	@$(SETUP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: ## time diagnose against the book's way: make bench SCAN=… WEIGHTS=…
	@$(SETUP)
	$(BIN)/python scripts/bench_diagnose.py $(SCAN) --weights $(WEIGHTS)

clean: ## remove .venv, caches and the demo
	rm -rf .venv $(DEMO) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
