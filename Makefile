SHELL := /bin/bash
# Each target builds .venv first, from the pins, when it is missing or older than them.
PYTHON ?= python3
WHEELS_PYTHON ?= 3.12
BIN := .venv/bin
# One process a core, four at most, a file to each, and one thread in each: the models are tiny.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
NBVAL := --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300 -p no:cacheprovider
# Idle threads sleep instead of spinning: much faster where something else uses the cores too.
export OMP_WAIT_POLICY ?= PASSIVE
# Nothing needs the network once .venv is there; NIBKIT_CLIP=… may ask for it.
export HF_HUB_DISABLE_TELEMETRY ?= 1
export PYTHONHASHSEED ?= 0

.PHONY: help run lab notebooks book pages slides student course lint test test-unit test-notebooks test-slow test-course bench results-check gpu-check wheels gpu-rehearsal clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: .venv/ready  ## run the whole series, make the book of it, and say where to look
	$(BIN)/python -m tools.run

lab: .venv/ready  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

notebooks: .venv/ready  ## run the series and store its outputs in notebooks/
	$(BIN)/python -m tools.run --inplace
	$(BIN)/python -m tools.pages

book: .venv/ready  ## the book from the stored outputs, under build/book, without running anything
	$(BIN)/python -m tools.book

pages: .venv/ready  ## write the generated pages of docs/: the ledger, the speed figures, the public names
	$(BIN)/python -m tools.pages

slides: .venv/ready  ## a deck a notebook, with speaker notes, under build/slides, without running anything
	$(BIN)/python -m tools.slides

student: .venv/ready  ## the notebooks without solutions and outputs, to hand out, under build/student
	$(BIN)/python -m tools.student

course: .venv/ready  ## a zip for students and one for teachers, under build/course (REPO=owner/name: with launch links)
	$(BIN)/python -m tools.course $(if $(REPO),--repo $(REPO))

lint: .venv/ready  ## style and types: ruff (format and lint) and mypy
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff format --check --quiet --isolated notebooks
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

test: lint  ## everything that must hold: lint, unit tests, notebook rules, nbval
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests notebooks $(NBVAL) $(PARALLEL)

test-unit: .venv/ready  ## unit tests and notebook rules alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests $(PARALLEL)

test-notebooks: .venv/ready  ## nbval alone: run the notebooks and compare every output
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest notebooks $(NBVAL) $(PARALLEL)

test-slow: .venv/ready  ## what test leaves out for its time: the students' first notebook, mistakes that take a minute each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/theory tests/house/test_course.py -m slow

test-course: .venv/course  ## nbgrader from the assignments to the points (adds nbgrader to .venv)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/house/test_nbgrader.py -m slow

.PHONY: test-browser
test-browser: .venv/browser  ## the explorers of 07 and 12 in JupyterLab in Chromium (adds playwright to .venv)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/show/test_in_browser.py -m slow

bench: .venv/ready  ## the speed figures, as ratios in one run: a CSV and a figure under build (about 15 minutes)
	@mkdir -p build
	$(BIN)/python -m benchmarks.speed --out build/bench.csv

.PHONY: fuzz
fuzz: .venv/ready  ## hard use drawn at random (MINUTES=30, SEED=0; CASE=… runs one again); what fails is kept in build/fuzz
	PYTHONPATH=.:tests OMP_NUM_THREADS=1 $(BIN)/python -m fuzz \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(CASE),--case $(CASE))

results-check: .venv/ready  ## measure a share of data/results again (SHARE=0.02, SEED=0; some minutes), and say what differs
	$(BIN)/python data/recipes/check_results.py $(if $(SHARE),--share $(SHARE)) $(if $(SEED),--seed $(SEED))

gpu-check:  ## nbval, tests, agreement and speed on CUDA, with the Python at hand (STEPS=… for some); report in data/gpu
	$(PYTHON) tests/gpu_check.py $(if $(STEPS),--steps $(STEPS))

wheels:  ## fetch what gpu-check needs on a machine without a network (for its Python: WHEELS_PYTHON=3.12), into build/wheels
	$(PYTHON) tests/gpu_wheels.py --python $(WHEELS_PYTHON)

gpu-rehearsal: .venv/ready  ## nbval on a pretended CUDA device: finds on a CPU what would stop, or print other text, on a GPU
	NIBKIT_PRETEND_CUDA=1 NIBKIT_DEVICE=cuda PYTHONPATH=$(CURDIR)/tests/pretend OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest notebooks $(NBVAL) $(PARALLEL)

clean:  ## remove .venv and build
	rm -rf .venv build

# --no-compile: what is imported is compiled when it is, which is a fraction of what is installed.
.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'nibkit needs Python 3.11 or newer: make PYTHON=python3.11 …')"
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/course: .venv/ready requirements-course.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-course.txt
	@touch $@

.venv/browser: .venv/ready requirements-browser.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-browser.txt
	@touch $@
