# make help lists the targets; make test and make reproduce need nothing before them.
PYTHON  ?= python3
PROFILE ?= default
JOBS    ?= 1
NEWEST   = $(shell ls -td runs/*/provenance.json 2>/dev/null | grep -v -e '^runs/reference/' -e '\.failed/' -e '\.partial-' | head -n 1)
RUN     ?= $(or $(patsubst %/provenance.json,%,$(NEWEST)),runs/reference)

VENV  := .venv
PY    := $(VENV)/bin/python
# CUDA is what .venv was made with, else 13.
CUDA  ?= $(or $(patsubst $(VENV)/.installed-cuda-%,%,$(firstword $(wildcard $(VENV)/.installed-cuda-*))),13)
STAMP := $(VENV)/.installed-cuda-$(CUDA)
GPU   := $(if $(filter none,$(CUDA)),,requirements-gpu-cuda$(CUDA).txt)
REQS  := requirements.txt requirements-dev.txt $(GPU)

.DEFAULT_GOAL := help
.PHONY: help env test lint reproduce reference figures compare readme bench lab docs

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP)  ## create or update .venv (CUDA=13|12|none chooses CuPy; PYTHON=python3.12 the interpreter)

# One pip run for everything, so that torch and torchvision are chosen together. pip takes a
# CPU-only torch if its settings offer one (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL); it is enough.
$(STAMP): $(REQS) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("f2f needs Python 3.11 or newer, $(PYTHON) is %d.%d: make PYTHON=..." % v[:2])'
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip uninstall --quiet --yes $(filter-out cupy-cuda$(CUDA)x,cupy-cuda12x cupy-cuda13x) 2>/dev/null
	$(PY) -m pip install --quiet --disable-pip-version-check $(addprefix -r ,$(REQS))
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(PY) -m f2f.ahead
	@rm -f $(VENV)/.installed-cuda-* && touch $@

test: env  ## run the tests, every notebook at its tiny profile among them (ARGS='-k beam -x')
	$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

lint: env  ## check style, format, types and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --cache-dir .import_linter_cache

reproduce: env  ## run all notebooks into runs/<run-id>/ (PROFILE=default|paper, JOBS=n, ARGS='--notebook 02')
	$(PY) -m f2f_study.run --profile $(PROFILE) --jobs $(JOBS) $(ARGS)

reference: env  ## make runs/reference from nothing, or what is stale of it (DATA=folder, see data/README.md)
	$(if $(DATA),F2F_DATA=$(DATA)) $(PY) -m f2f_study.run.reference $(ARGS)

figures: env  ## redraw all figures of a run from its CSV (RUN=runs/<run-id>, default: the newest)
	$(PY) -m f2f_study.run --figures-only $(RUN)

compare: env  ## compare a run with runs/reference (RUN=runs/<run-id>, default: the newest; ARGS=another run)
	$(PY) -m f2f_study.run.compare $(RUN) $(ARGS)

readme: env  ## fill the tables of README.md and docs/ from runs/reference
	$(PY) -m f2f_study.run.pages

bench: env  ## run the benchmarks of the kernels, each after its correctness check (ARGS='encode')
	$(PY) -m benchmarks $(ARGS)

lab: env  ## open JupyterLab on the notebooks with the kernel of .venv
	$(PY) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks $(ARGS)

# Every module by name, for pdoc leaves out what is not in a package's __all__.
MODULES = $(patsubst %.__init__,%,$(subst /,.,$(patsubst lib/%.py,%,$(shell find lib -name '*.py' -not -name __main__.py | sort))))
docs: env  ## write the API pages into docs/api
	$(PY) -m pdoc --docformat numpy --output-directory docs/api $(MODULES)
