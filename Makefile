# Saltern. `make help` lists the targets and the groups of overrides.
#
# What stands on make's command line goes to Hydra as it is:  make train dataset=tgs 'trainer.folds=[0]' name=try1
# ARGS carries what make cannot parse:                        make train ARGS="-m trainer.folds=[0],[1] ~experiment"

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

export PYTHONUNBUFFERED := 1

STAGES      := import download check preview lr folds train tune predict submit report ensemble compare seeds losses score validate runs bundle export tensorboard
DEVELOPMENT := help setup test test-slow test-gpu lint format bench figures docs clean

.DEFAULT_GOAL := help
.PHONY: $(STAGES) $(DEVELOPMENT)

# Every override as one quoted word for the shell. MAKEOVERRIDES escapes blanks, backslashes and dollars. While make
# splits at blanks, one within a word is a control character, which no override may hold.
empty  :=
space  := $(empty) $(empty)
blank  := $(shell printf '\001')
own    := PYTHON=% VENV=% ARGS=% SHELL=%
home   := $(subst $(space),$(blank),$(HOME))
words   = $(filter-out $(own),$(subst =~/,=$(home)/,$(subst \$(space),$(blank),$(MAKEOVERRIDES))))
override quoted = $(foreach word,$(words),'$(subst ','\'',$(subst $(blank),$(space),$(subst $$$$,$$,$(subst \\,\,$(word)))))')
ifneq ($(findstring $(blank),$(MAKEOVERRIDES)),)
  $(error an override holds a control character; expected plain text)
endif
override run = @$(BIN)/python scripts/$(1).py $(quoted) $(ARGS)

help:  ## this list
	@echo 'make TARGET [key=value ...]'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "  %-11s %s\n", $$1, $$2}'
	@echo
	@echo 'Groups of overrides (GROUP=CHOICE; every key of a choice can be overridden, such as trainer.batch_size=32):'
	@echo
	@for group in dataset folds augment model schedule optim trainer inference submission experiment; do \
	  printf '  %-10s %s\n' $$group "$$(cd configs/$$group && ls *.yaml 2>/dev/null | sed 's/\.yaml$$//' | tr '\n' ' ')"; done
	@echo
	@echo 'Examples:'
	@echo '  make train dataset=tgs dataset.root=PATH model=unet_resnet34 trainer.folds=[0] name=try1'
	@echo '  make train schedule.phases.fine_tune.loss=0.5*lovasz_hinge+0.5*dice name=try2'
	@echo '  make ensemble name=blend runs=[try1,try2]'

import: $(STAMP)    ## unpack an archive (or a folder of them) into its layout: archive=FILE dataset=tgs dataset.root=PATH
	$(call run,import)
download: $(STAMP)  ## fetch a competition's archive with the Kaggle command line: competition=NAME
	$(call run,download)
check: $(STAMP)     ## what is wrong with this data set, before an hour is spent on it
	$(call run,check)
preview: $(STAMP)   ## draw augmented training images with outlined masks, as the network will see them
	$(call run,preview)
lr: $(STAMP)        ## a learning-rate range test: the rate that a run may begin with; phase=NAME steps=N
	$(call run,lr)
folds: $(STAMP)     ## begin a run: freeze its config, divide the images into folds
	$(call run,folds)
train: $(STAMP)     ## every stage in order: folds, training, tune, predict, submit, report
	$(call run,train)
tune: $(STAMP)      ## tune threshold, area and gate on out-of-fold probabilities; predict, submit and report what follows
	$(call run,tune)
predict: $(STAMP)   ## test probabilities; or masks of any folder of images: name=RUN images=DIR target=DIR
	$(call run,predict)
submit: $(STAMP)    ## write submission.csv, read it back and prove it; message='…' hands it to Kaggle
	$(call run,submit)
report: $(STAMP)    ## write report.html
	$(call run,report)
ensemble: $(STAMP)  ## the mean of several runs as a run of its own: name=NEW runs=[A,B]
	$(call run,ensemble)
compare: $(STAMP)   ## are runs really different? mean differences over the same images: name=PAGE runs=[A,B]
	$(call run,compare)
seeds: $(STAMP)     ## train a run again with other seeds; how far its score moves: name=RUN seeds=[1,2,3]
	$(call run,seeds)
losses: $(STAMP)    ## which loss is better on your data? one recipe with each loss of a list: experiment=losses_sample
	$(call run,losses)
score: $(STAMP)     ## grade a CSV against the truth: submission=FILE truth=FILE
	$(call run,score)

validate: $(STAMP)  ## what is wrong with a submission CSV, whoever wrote it: submission=FILE name=RUN, or sample_submission=FILE
	$(call run,validate)
runs: $(STAMP)      ## every run: score, cost, what sets it apart; outputs/runs.csv, runs.html: against=RUN
	$(call run,runs)
bundle: $(STAMP)    ## all that predicts without a network: name=RUN weights=fp16 members=[0,1]; outputs/RUN/bundle.zip
	$(call run,bundle)
export: $(STAMP)    ## networks as ONNX files, proven against torch: name=RUN format=onnx networks=mean
	$(call run,export)
tensorboard: $(STAMP) ## curves, pictures and settings of the runs in TensorBoard: name=RUN host=localhost port=6006
	$(call run,board)

setup: $(STAMP)     ## make the virtual environment and install the exact versions of requirements.txt

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Saltern needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); run make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo 'Installing into $(VENV) (once; torch alone is several gigabytes) ...'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -c 'import cv2' || \
	  { echo 'OpenCV does not load. Where libGL.so.1 or libglib is missing: apt-get install libgl1 libglib2.0-0'; exit 2; }
	@touch $(STAMP)

test: lint          ## lint, format check, types, layers, and the test suite
	$(BIN)/python -m pytest -m "not slow"
test-slow: $(STAMP) ## the tests that take minutes
	$(BIN)/python -m pytest -m slow
test-gpu: $(STAMP)  ## on a machine with CUDA: its tests, every benchmark, a short training; a section for docs/results.md
	$(BIN)/python tests/gpu_path/section.py
lint: $(STAMP)      ## ruff (lint and format check), mypy, and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
format: $(STAMP)    ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
bench: $(STAMP)     ## every benchmark, both sides in one run
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done
figures: $(STAMP)   ## draw the figures of docs/losses.md and docs/honesty.md, and photograph the page of the sample run
	$(BIN)/python docs/figures/draw.py
	$(BIN)/python docs/figures/page.py
docs: $(STAMP)      ## build the documentation as a site: docs/_build/html/index.html
	$(BIN)/python docs/reference.py
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'
clean:              ## delete the virtual environment and all caches; data and outputs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
