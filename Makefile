# make demo              the main job on a phantom with known truth
# make demo SCAN=path    ... on any scan
# make test              the tests; make check adds format, lint, types, layers
# make test-all          adds the slow tests, and checks every annotation while they run: shapes, element types, types
# CPU=1                  take the CPU build of torch (a tenth of the size) from its public index
# PYTHON=python3.12      build the environment with another Python (3.11 or later)

PYTHON ?= python3
SCAN ?=
CPU ?=
JOBS ?= 2

BIN := .venv/bin
READY := .venv/.ready
TORCH_INDEX := https://download.pytorch.org/whl/cpu
# jaxtyping checks every call in nomina by its annotations; the numeric tower takes an int where a float is written, as mypy does.
CHECKED := --jaxtyping-packages="nomina,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"

.PHONY: demo test test-all check environment clean

demo: $(READY)
	$(BIN)/nomina demo $(if $(SCAN),"$(SCAN)")

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "not slow"

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(CHECKED)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

environment: $(READY)

# Torch alone comes from its own index: every package would be asked for there, and waited for where it cannot be reached.
# nnU-Net's architectures come without what they declare: timm and, through it, torchvision, which does not load beside CPU torch.
# The stamp is written last, so an installation that was cut short is done again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "nomina needs Python 3.11 or later; give one with PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "python3 has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(if $(CPU),$(BIN)/python -m pip install --retries 1 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(BIN)/python -m pip install -c constraints.txt -e ".[train,dev]"
	$(BIN)/python -m pip install -c constraints.txt --no-deps dynamic-network-architectures
	@touch $(READY)

clean:
	rm -rf .venv build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
