# face18: photos of people in, one of 18 labels out. Plain `make` lists the targets.
# Make only orders the stages; each stage decides by itself whether there is work.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
PY := "$(VENV)/bin/python"
STAGE := $(PY) -m pipeline

given = $(if $($(1)),--$(2) "$($(1))")
SETTINGS = $(call given,RUN,run) $(call given,DATA,data) $(call given,PRESET,preset) $(call given,WEIGHTS,weights) \
	$(call given,RECIPE,recipe) $(call given,FACES,faces) $(call given,EXTRA,extra)
TRAINING = $(SETTINGS) $(call given,FOLDS,folds) $(call given,THREADS,threads) $(call given,SHARE,share) \
	$(call given,NPROC,processes)
SYSTEMS = $(SETTINGS) $(call given,SYSTEM,system)
AFTER = $(SYSTEMS) $(call given,EVAL,eval)
ALL = $(strip $(AFTER) $(call given,FOLDS,folds) $(call given,THREADS,threads) $(call given,PEOPLE,people) \
	$(call given,NPROC,processes))
# Two small networks side by side outrun one network on every core of a CPU. The age takes about half of all the work,
# so with two at a time it ends with the others. A GPU takes one at a time, as do several processes (NPROC=).
BESIDE ?= $(if $(filter-out 1,$(NPROC))$(wildcard /dev/nvidia[0-9]* /dev/kfd /dev/dxg),,2)
# ARGS goes to the goals that the user named, not to what they stand on.
args = $(if $(filter $@,$(MAKECMDGOALS)),$(ARGS))
checked = $(filter-out train test test-slow test-pages test-faults pictures bench gpu-check setup check,$(MAKECMDGOALS))

# A mistyped PRESET= would otherwise mean the default, in silence.
KNOWN := ARGS BESIDE DATA EVAL EXTRA FACES FOLDS MAKEFLAGS NPROC PEOPLE PRESET PYTHON RECIPE RUN RUNS SHARE SHELL SYSTEM THREADS VENV WEIGHTS
STRAY := $(filter-out $(KNOWN),$(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $(v))),$(v))))
$(if $(STRAY),$(error face18: there is no setting $(STRAY)=; plain make lists those there are))
$(if $(RUNS),$(if $(filter-out report,$(or $(MAKECMDGOALS),help)),$(error face18: RUNS= is for make report alone; \
	one run is RUN=)))

$(if $(filter tune,$(MAKECMDGOALS)),$(if $(DATA)$(RUN)$(RECIPE)$(SYSTEM)$(WEIGHTS)$(EVAL)$(EXTRA),\
	$(error face18: make tune times the networks of a PRESET=, whatever the run; leave the other settings out)))

.DEFAULT_GOAL := help
.PHONY: help setup check data prepare commands train train-mask train-gender train-age train-joint train-multihead predict \
	calibrate submit score count report export serve compare recipes tune test test-slow test-pages test-faults pictures bench gpu-check lint clean

help: ## list the targets
	@echo 'make TARGET [DATA=folder] [RUN=runs/x] [PRESET=lite|small|base|large] [FOLDS=0|all|0,1]'
	@echo '            [WEIGHTS=auto|package|hub|none|folder|run] [EVAL=folder|list.txt|"shards/*.tar"]'
	@echo '            [SYSTEM=specialists|joint|multihead] [FACES=auto|off|given]'
	@echo '            [PEOPLE=auto|folders|off] [EXTRA=folder,folder] [RECIPE=name]'
	@echo '            [ARGS="--epochs 5"] [THREADS=n] [NPROC=n] [BESIDE=] [VENV=folder]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/face18.txt: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'face18: Python 3.11 or newer is needed; name one with PYTHON=.' >&2; exit 2; }
	test -x $(PY) || $(PYTHON) -m venv "$(VENV)"
	$(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	more = p["optional-dependencies"]; print(*p["dependencies"], *more["faces"], *more["report"], *more["export"], *more["page"], *more["dev"], sep="\n")' > "$@.part"
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -r "$@.part"
	mv "$@.part" "$@"

setup: $(VENV)/face18.txt ## make the virtual environment (6 GB, a few minutes, once)

check: setup
	@$(if $(and $(strip $(ARGS)$(ALL)),$(checked)),$(STAGE) check $(checked) -- $(ALL) -- $(ARGS))

data: check ## draw people to try the pipeline on, where DATA names no photos
	@$(if $(DATA),,$(STAGE) data $(call given,RUN,run) $(args))

prepare: data ## decode the train photos once
	@$(STAGE) prepare $(SETTINGS) $(args)

train-mask train-gender train-age train-joint train-multihead: train-%: prepare
	@$(STAGE) train $* $(TRAINING) $(args)
train-mask: ## train the mask specialist
train-gender: ## train the gender specialist
train-age: ## train the age specialist
train-joint: ## train the rival in one piece, 18 labels in one head
train-multihead: ## train the rival with three heads on one backbone
train: check ## train all three (or the SYSTEM), two side by side where there is no GPU
	@goals=$$($(STAGE) goals $(SYSTEMS)) && set -- $$goals && \
	if [ $$# -gt 1 ] && [ "$(BESIDE)" ]; then export TTY_INTERACTIVE=0; fi && \
	$(MAKE) --no-print-directory -f $(firstword $(MAKEFILE_LIST)) \
		$(if $(BESIDE),SHARE=$$(($$# < $(BESIDE) ? $$# : $(BESIDE))) \
		$(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(BESIDE))) $(if $(args),,ARGS=) $$goals

commands: check ## print the commands that train all folds on several GPUs, machines or a cluster (ARGS="--gpus 8", "--machines a,b", "--slurm")
	@$(STAGE) commands $(SYSTEMS) $(call given,FOLDS,folds) $(args)

# Photos of one's own are labelled with a run as it stands.
ifdef EVAL
predict: check
else
predict: train
endif
predict: ## predict the eval photos with the three specialists (or the SYSTEM)
	@$(STAGE) predict $(AFTER) $(call given,THREADS,threads) $(call given,NPROC,processes) $(args)

calibrate: predict ## choose the age thresholds on held-out people
	@$(STAGE) calibrate $(AFTER) $(call given,PEOPLE,people) $(args)

submit: calibrate ## write submission.csv, doing everything that is missing; score it where the truth is known
	@$(STAGE) submit $(AFTER) $(args)
	@$(if $(EVAL),,$(STAGE) score --if-known $(SYSTEMS))
	@$(STAGE) report $(AFTER)

score: check ## score a submission
	@$(if $(EVAL),echo 'face18: photos given as EVAL= have no truth to score; leave EVAL= out' >&2; exit 2,\
		$(STAGE) score $(SYSTEMS) $(args))
	@$(STAGE) report $(SYSTEMS)

count: calibrate ## count the eval photos, and known people, by mask, gender and age band, with intervals (ARGS="--by day")
	@$(STAGE) count $(AFTER) $(args)

report: check ## show what a run came to: report.html, one page (RUNS="a b": side by side; ARGS="--no-photos": without people)
	@$(STAGE) report $(call given,RUNS,side-by-side) $(AFTER) $(args)

export: check ## a trained run as a folder to take along: ONNX, a model card, and label.py, which needs no face18
	@$(STAGE) export $(SYSTEMS) $(args)

serve: check ## answer about photos in a browser, and POST /label for programs, until Ctrl-C (ARGS="--port 8018")
	@$(STAGE) serve $(SYSTEMS) $(call given,THREADS,threads) $(args)

compare: prepare ## train the specialists and their rivals at equal cost, several times each, and compare them (hours)
	@$(STAGE) compare $(SETTINGS) $(args)

recipes: check ## list the systems of the notes, each one word: RECIPE=name
	@$(STAGE) recipes $(args)

tune: check ## time for two minutes how this machine trains a preset fastest, for all trainings to come (no GPU; PRESET=)
	@$(STAGE) tune $(call given,PRESET,preset) $(call given,THREADS,threads) $(args)

# Two files at a time; whole files, because their tests share trained networks. ARGS="-n 8" for more, "-n 0" for a debugger.
PYTEST = $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: setup ## run the tests (minutes)
	@$(PYTEST) $(ARGS)

test-slow: setup ## run the slow tests too
	@$(PYTEST) -m 'not pages' --timeout 3600 $(ARGS)

test-pages: setup ## look at reports and at the page of make serve in a browser (Chromium, playwright and axe-core, which it does not install)
	@$(PY) -m pytest -m pages tests/pages --timeout 1800 $(ARGS)

pictures: setup ## take the pictures of README and docs: the report of RUN, and its page served (Chromium and playwright)
	@$(PY) benchmarks/pictures.py $(call given,RUN,run) $(ARGS)

test-faults: setup ## kill 200 runs, 20 loaders and 50 times processes that predict together, fail every write, and see that nothing is lost (half an hour)
	@$(PY) tests/faults/kills.py $(ARGS)
	@$(PY) tests/faults/writes.py
	@$(PY) tests/faults/loaders.py
	@$(PY) tests/faults/sharing.py

bench: setup ## time training and prediction against the usual scripts (half an hour)
	@$(PY) benchmarks/speed.py $(ARGS)

# A machine with a GPU may have torch of its own, and no way to fetch another.
gpu-check: ## on a machine with a GPU: what it makes of face18, in 8 minutes (ARGS="--wheels folder" for what it lacks)
	@$(if $(wildcard $(VENV)/bin/python),$(PY),"$(PYTHON)") benchmarks/gpu_check.py $(ARGS)

lint: setup ## check format and style
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .

clean: ## remove caches; never runs or data
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
