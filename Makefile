# The commands of this repository. Each one sets up all that it needs on a fresh Debian or Ubuntu machine with Python 3.10
# or later, a C++ compiler and make: see tools/bootstrap.sh. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help bootstrap cross-tools demo test quick test-torch-versions serve-test ray-test lint format bench
.PHONY: package-gpu-tests wheel stopwatch docs test-examples recipes-test page-test editor-test
.PHONY: windows-test cross-test wasm-test page reliability clean

export PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport PYTHONPATH PYTHONHOME

# Processes that compile or test at a time. A model's kernels take up to 1.5 GiB each.
JOBS ?= $(shell nproc)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)
# One process runs all tests of a file, so that what they share is built once.
WORKERS := -n $(JOBS) --dist loadfile --no-loadscope-reorder
CPP_SOURCES := $(shell git ls-files '*.h' '*.hpp' '*.c' '*.cpp' 2>/dev/null)

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 26

bootstrap: ## system packages and .venv; the other commands do it themselves
	@tools/bootstrap.sh

cross-tools: ## system packages for tests with other compilers, which are skipped without them
	@tools/cross_tools.sh

demo: bootstrap ## build the semantic search example and compare it with eager PyTorch
	@tools/demo.sh

test: lint ## all checks: style and types, every test, the sanitizers
	pytest $(WORKERS) --durations=10

quick: lint ## the checks that take less than three minutes
	pytest $(WORKERS) -m quick

test-torch-versions: bootstrap ## tests and builds with each release of torch: several GB of packages in build/torch
	@tools/torch_versions.sh

test-examples: bootstrap ## examples that CMake builds, in C, C++ and Rust, against what their pages say that they print
	pytest examples

recipes-test: bootstrap ## recipes of package managers for a model, with the tools of those that can be installed
	@tools/recipes_test.sh

page-test: bootstrap ## pages of `aotbuild report` and `inspect` in headless Chromium, light and dark, wide and narrow
	@tools/page_test.sh

editor-test: bootstrap ## what clangd shows of a generated header: shapes and types
	@tools/editor_test.sh

ray-test: bootstrap ## a tuning bundle by two workers of Ray, one of which is killed
	@tools/ray_test.sh

windows-test: bootstrap ## 40 models of the zoo and the example's encoder for Windows, static and as DLLs, under wine
	@tools/cross_tools.sh --all
	python tests/models/check_systems.py windows --encoder

cross-test: bootstrap ## 20 models of the zoo for 64-bit Arm, 64-bit RISC-V and 32-bit Arm each, under qemu
	@tools/cross_tools.sh --all
	@for system in aarch64 riscv64 armv7; do \
	  python tests/models/check_systems.py $$system --models 20 --flags=-O1 || exit; done

# Where Debian has what Emscripten's Node programs use, whatever Node it is.
wasm-test page: export NODE_PATH ?= /usr/share/nodejs
wasm-test: bootstrap ## 40 models of the zoo and the example's encoder for WebAssembly under Node, and its page in Chromium
	@tools/cross_tools.sh --all
	python tests/models/check_systems.py wasm --encoder --flags=-O1
	python tests/models/check_systems.py wasm-threads --models 3 --flags=-O1
	@tools/page.sh
	pytest -o "pythonpath=benchmarks tests/web" tests/web/check_page.py

page: bootstrap ## build the page of the semantic search example, for browsers
	@tools/cross_tools.sh --all
	@tools/page.sh

serve-test: bootstrap ## built models behind the real Triton Inference Server on loopback
	@tools/serve_test.sh

reliability: bootstrap ## fuzzing, failures on purpose, attacked builds, long runs: hours, goes on where it was; docs/reliability.md
	@tools/reliability_tools.sh
	python tests/reliability/reliability.py

lint: bootstrap ## style and types
	ruff check --quiet .
	ruff format --check --quiet .
	mypy
	@echo clang-format --dry-run --Werror on $(words $(CPP_SOURCES)) files
	@$(if $(CPP_SOURCES),clang-format --dry-run --Werror $(CPP_SOURCES))

format: bootstrap ## rewrite the sources in the style that `make lint` wants
	ruff check --fix --quiet .
	ruff format --quiet .
	$(if $(CPP_SOURCES),clang-format -i $(CPP_SOURCES))

bench: bootstrap ## MiniLM against eager PyTorch, ONNX Runtime and AOTInductor: about ten minutes, nothing else running
	python benchmarks/minilm.py

package-gpu-tests: bootstrap ## build/gpu-tests, a folder of CUDA models' tests and benchmarks for a machine with the driver
	@tools/package_gpu_tests.sh

wheel: bootstrap ## dist/: the wheel that is published, for Linux distributions of its age or later
	@tools/wheel.sh

stopwatch: wheel ## seconds from a machine with torch to a first result: install, init, build, run
	python benchmarks/stopwatch.py

docs: bootstrap ## build/docs/site: the documentation as a site, every link checked
	@tools/docs.sh

clean: ## remove build outputs; .venv stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
