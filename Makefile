# Each target makes its own virtual environment in .venv from requirements.lock; PYTHON=… chooses the interpreter.
BIN := .venv/bin
FIND_PYTHON := for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	$$candidate -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$candidate && break; done

.PHONY: help venv demo test check format bench lock
help:
	@echo "make demo    the whole way on generated scans: archive, two versions in 2D and 3D, report (5 minutes, 2 cores)"
	@echo "make test    the test suite"
	@echo "make check   ruff, mypy, import contracts"
	@echo "make bench   the figures of the README, each against its peer"
	@echo "make venv    only the environment: .venv/bin/cellscan"
	@echo "make lock    new versions into requirements.lock"

venv: $(BIN)/cellscan

$(BIN)/cellscan: requirements.lock pyproject.toml
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then echo "cellscan needs Python 3.11, 3.12 or 3.13 with its venv module; none was found. Name one: make PYTHON=/path/to/python3.12"; exit 1; fi; \
	echo "Installing the locked packages into .venv with $$($$python --version) (some minutes: torch is large) ..."; \
	$$python -m venv --clear .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv
	@$(BIN)/cellscan demo

test: venv
	@$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

check: venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: venv
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: venv
	@for file in benchmarks/*.py; do [ -e "$$file" ] || continue; echo "== $$file"; $(BIN)/python $$file || exit 1; done

# pip's own `--group` needs pip 25.1. Torch's build label and its CUDA wheels are left out: torch 2.13.0 names
# the CUDA wheels it needs itself, and a machine without them gets the CPU build from the same line. Torch stays as
# it is: another one is chosen by editing its line, and measuring.
lock:
	@python=$$($(FIND_PYTHON)); $$python -m venv --clear build/lock
	@build/lock/bin/python -m pip install -qq --upgrade pip
	@grep '^torch==' requirements.lock > build/lock/torch
	@build/lock/bin/python -m pip install -qq '.[pretrained]' --group dev -c build/lock/torch
	@sed -n '/^#/p' requirements.lock > build/lock/new
	@build/lock/bin/python -m pip freeze --all --exclude pip --exclude cellscan \
		| sed -e 's/+cpu$$//; s/+cu[0-9]*$$//' -e '/^nvidia-/d; /^cuda-/d; /^triton==/d' >> build/lock/new
	@mv build/lock/new requirements.lock
