# `make` lists what can be asked for. A preset PYTHON is used as it is; otherwise .venv is built
# from constraints.txt.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PROFILE ?= teach
CHAPTERS := $(sort $(basename $(notdir $(wildcard notebooks/[0-9][0-9]_*.py))))
REPORTS := $(sort $(basename $(notdir $(wildcard notebooks/reports/*.py))))
ALL := $(CHAPTERS) $(REPORTS)
NOTEBOOKS ?= $(ALL)
ifneq ($(filter-out $(ALL),$(NOTEBOOKS)),)
$(error no such notebook: $(filter-out $(ALL),$(NOTEBOOKS)); there are: $(ALL))
endif

BUILD := $(or $(SCIMF_BUILD),build)
FIGURES := $(or $(SCIMF_FIGURES),figures)
RESULTS := $(or $(SCIMF_RESULTS),results)
STAMPS := $(BUILD)/stamps/$(PROFILE)

ifdef PYTHON
ENV :=
else
PYTHON := .venv/bin/python
ENV := .venv/installed
endif
EXECUTE = $(PYTHON) -m workflow.notebooks
# What notebooks share lies beside them, and benchmarks and the sweep use it, too.
BESIDE = PYTHONPATH="$(CURDIR)/notebooks/reports:$(CURDIR)/notebooks$${PYTHONPATH:+:$$PYTHONPATH}"

.PHONY: help figures test test-fast publish notebooks html bench bench-quality data student clean \
	lock lint times check-figures papers peers animation lab test-faults test-interop test-slurm \
	sweep
help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo 'Options: PROFILE=smoke|teach|paper (default teach), NOTEBOOKS="03_train 04_evaluate" (all)'
	@echo 'Your own file: make figures DATA=my.h5ad TIME_KEY=day TYPE_KEY=cell_type HELD_OUT=3'
	@echo '  (also POPULATION_KEY=, BATCH_KEY=, CELLS=, LAYER=, GENES=, LABELS=, SEP=, BINS=, DROP=,'
	@echo '  FORM=: notebooks/10_your_data.py says what they are); a report to send is in build/yours'
	@echo 'Conditions by plate, or positions: make figures DATA=my.h5ad NOTEBOOKS=real_interactions'

# Everyday -----------------------------------------------------------------------------------------

ifdef DATA
# Your own file goes through notebook 10 alone (or NOTEBOOKS=real_interactions), into a folder of its
# own: nothing of it can be published. Names of files and columns may hold spaces. A mistyped option
# would be ignored by make, and the run be another than was asked for.
YOURS := CELLS TIME_KEY TYPE_KEY POPULATION_KEY BATCH_KEY FORM HELD_OUT LAYER GENES LABELS SEP BINS DROP \
	CONDITION_KEY
TYPED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out DATA PROFILE NOTEBOOKS PYTHON SCIMF_% OMP_% CUDA_% $(YOURS),$(TYPED))
ifneq ($(UNKNOWN),)
$(error no such option: $(UNKNOWN); beside DATA there are: PROFILE $(YOURS) NOTEBOOKS)
endif
quoted = '$(subst ','\'',$(1))'
figures: $(ENV) ## the same with DATA=my.h5ad: notebook 10 on your file
	@$(EXECUTE) yours --profile $(PROFILE) \
		$(if $(filter command,$(origin NOTEBOOKS)),--notebook $(call quoted,$(NOTEBOOKS))) \
		$(call quoted,$(value DATA)) \
		$(foreach key,$(YOURS),$(if $(value $(key)),$(call quoted,$(key)=$(value $(key)))))
else
figures: $(NOTEBOOKS:%=$(STAMPS)/%) ## run the notebooks that are not up to date, under PROFILE
	@$(EXECUTE) summary --profile $(PROFILE)
endif

# Two processes, one thread each, that start no others for fits of a few steps. The notebooks, which
# keep one of them busy for long, begin first.
PYTEST = OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1 $(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
LONGEST := tests/test_notebooks_run.py
OTHERS := $(filter-out $(LONGEST) tests/__pycache__/,$(wildcard tests/*/ tests/test_*.py))
test: lint ## check style, run all tests, and every notebook under smoke: at most 10 minutes
	$(PYTEST) $(LONGEST) $(OTHERS)

test-fast: $(ENV) ## run the tests that take seconds: at most 2 minutes
	$(PYTEST) -m "not slow"

publish: $(ENV) ## copy a complete run into the published/ folders and the .ipynb pairs
	$(EXECUTE) publish --profile $(PROFILE)
	@$(BESIDE) $(PYTHON) -m workflow.papers

notebooks: $(ENV) ## bring each .ipynb in step with its .py
	$(EXECUTE) pairs

lab: $(ENV) ## open the notebooks in JupyterLab
	$(BESIDE) $(PYTHON) -m jupyter lab notebooks

html: $(ENV) ## render the notebooks to build/html
	$(EXECUTE) html --profile $(PROFILE)

bench: $(ENV) ## measure what things cost, as ratios, on a free machine: bench.json
	$(BESIDE) $(PYTHON) -m workflow.benchmarks.costs --publish

bench-quality: $(ENV) ## measure how long it takes to the same score, into the same record
	$(BESIDE) $(PYTHON) -m workflow.benchmarks.time_to_score --publish

data: $(ENV) ## fetch the real data sets, check those that are there
	$(EXECUTE) data

student: $(ENV) ## write build/student: notebooks without solutions
	$(EXECUTE) student

clean: ## remove what your own runs made, build/yours too (not .venv, not the data)
	rm -rf $(BUILD) $(foreach p,smoke teach paper,$(FIGURES)/$(p) $(RESULTS)/$(p))

# Which notebook reads whose files -----------------------------------------------------------------

$(STAMPS)/04_evaluate: $(STAMPS)/03_train

MODULE := $(shell find scimf -name '*.py' -o -name '*.toml' -o -name '*.mplstyle')
EVIDENCE := $(wildcard notebooks/reports/evidence/*.*)
BESIDE_CHAPTERS := $(wildcard notebooks/beside/*.*)

$(CHAPTERS:%=$(STAMPS)/%): $(STAMPS)/%: notebooks/%.py $(BESIDE_CHAPTERS)
$(REPORTS:%=$(STAMPS)/%): $(STAMPS)/%: notebooks/reports/%.py $(EVIDENCE) $(BESIDE_CHAPTERS)
$(ALL:%=$(STAMPS)/%): $(STAMPS)/%: notebooks/profiles.toml constraints.txt $(MODULE) | $(ENV)
	@$(EXECUTE) run $* --profile $(PROFILE)
	@mkdir -p $(@D)
	@touch $@

# Maintenance --------------------------------------------------------------------------------------

# Wherever these lie among the tests.
FAULTS = $(shell find tests -name test_faults.py -o -name test_any_file.py)
INTEROP = $(shell find tests -name test_interop.py)

lint: $(ENV)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

test-faults: $(ENV)
	SCIMF_FAULTS=10 SCIMF_EXAMPLES=75 OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -s $(FAULTS)

# CellRank, scVelo and LIANA+ read what notebook 10 has written, each by the lines that it shows. They
# need other versions of our packages, so they have an environment of their own, in which there is
# nothing of ours. From Python 3.12 on CellRank is a newer one, so the newest Python that starts is
# used (a shim of pyenv is there and does not start); INTEROP_PYTHON=python3.11 asks for another.
PYENV = $(HOME)/.pyenv/versions
PYTHONS = python3.13 $(wildcard $(PYENV)/3.13*/bin/python) python3.12 \
	$(wildcard $(PYENV)/3.12*/bin/python) python3
INTEROP_PYTHON ?= $(firstword $(foreach found,$(PYTHONS),$(shell \
	"$(found)" -c 'import ensurepip' 2>/dev/null && echo $(found))))
EXTRA = import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["optional-dependencies"]["interop"], sep="\n")
test-interop: $(STAMPS)/10_your_data
	@python="$(INTEROP_PYTHON)"; \
	env=$(BUILD)/interop/$$($$python -c 'import sys; print(*sys.version_info[:2], sep=".")'); \
	if [ ! $$env/installed -nt pyproject.toml ]; then \
		$$python -m venv --clear $$env; \
		$(PYTHON) -c '$(EXTRA)' >$$env/requirements.txt; \
		$$env/bin/python -m pip install -q -r $$env/requirements.txt 'pytest>=8'; \
		touch $$env/installed; \
	fi; \
	$$env/bin/python --version; \
	$$env/bin/python -m pip freeze | grep -E '^(anndata|cellrank|liana|numpy|scanpy|scvelo)=='; \
	SCIMF_DONE=$(abspath $(BUILD)/$(PROFILE)/10_your_data/done.h5ad) MPLBACKEND=Agg \
		$$env/bin/python -m pytest -q --noconftest --disable-warnings $(INTEROP)

# The scoreboard as jobs, `make sweep SWEEP=workflow/boards.toml ON=slurm FLAGS="..."`; one after
# the other, without Snakemake, it is `make sweep ON=serial`. An interrupted sweep goes on where it
# was (after kill -9 of Snakemake itself, FLAGS=--unlock first).
SWEEP ?= workflow/sweep.toml
ON ?= local
SNAKEMAKE ?= $(PYTHON) -m snakemake
SWEPT = $(BUILD)/sweep/$(basename $(notdir $(SWEEP)))
ifeq ($(ON),serial)
sweep: $(ENV)
	OMP_NUM_THREADS=1 $(BESIDE) $(PYTHON) -m workflow.sweep serial $(SWEEP) $(SWEPT)/serial
else
sweep: $(ENV)
	@$(SNAKEMAKE) --version >/dev/null 2>&1 || { echo "Snakemake is not installed:" \
		"$(PYTHON) -m pip install -e '.[cluster]' -c <(grep -v ^packaging= constraints.txt)," \
		"or SNAKEMAKE=/path/to/it, or make sweep ON=serial"; exit 1; }
	$(BESIDE) $(PYTHON) -m workflow.sweep plan $(SWEEP) $(SWEPT)/plan.json
	$(if $(filter no,$(ACCOUNTING)),PATH="$(CURDIR)/workflow/without-accounting:$$PATH") \
	$(SNAKEMAKE) --snakefile workflow/Snakefile --directory $(SWEPT) --configfile $(SWEPT)/plan.json \
		--workflow-profile workflow/profiles/$(ON) $(FLAGS)
endif

# A real SLURM on this host (Debian: slurm-wlm, munge), started and stopped by the test, in a
# temporary folder.
test-slurm: $(ENV)
	SCIMF_SLURM=1 OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -s tests/workflow/test_slurm.py

# Other authors' packages as they ship them, one environment each in build/peers, run on our boards:
# about 10 GB, and hours; what was answered before is kept. PEERS="wot moscot" BOARD="emt" for some.
# `python -m workflow.peers.run publish` puts the record where report scoreboard finds it anywhere.
WHICH_PEERS = $(if $(PEERS),--peers $(PEERS))
peers: $(ENV)
	$(BESIDE) $(PYTHON) -m workflow.peers.run install $(WHICH_PEERS)
	$(BESIDE) $(PYTHON) -m workflow.peers.run measure $(WHICH_PEERS) $(if $(BOARD),--boards $(BOARD))

# docs/PAPERS.md, which is made from published records: publish calls it, too.
papers: $(ENV)
	@$(BESIDE) $(PYTHON) -m workflow.papers

# docs/cells.gif, the moving picture of the README.
animation: $(ENV)
	$(PYTHON) -m workflow.animation

times check-figures: $(ENV)
	@$(EXECUTE) $@

# The environment of the last green run, exactly; without local suffixes such as +cpu, so that any
# machine finds them.
lock: $(ENV)
	$(PYTHON) -m pip freeze --exclude-editable | sed -E 's/\+[A-Za-z0-9.]+$$//' | \
		grep -v '^scimf\b' > constraints.txt.new
	mv constraints.txt.new constraints.txt

# The stamp is written last; without it a half-built environment is built anew.
.venv/installed: pyproject.toml constraints.txt
	if [ -f $@ ]; then rm $@; else python3 -m venv --clear .venv; fi
	.venv/bin/python -m pip install -q -c constraints.txt -e '.[notebooks,dev]'
	touch $@
