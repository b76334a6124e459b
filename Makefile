# The front door. `make run` and `make test` install what is missing (as root, on Debian), configure,
# build and go. CMake does the work; its presets (cmake --list-presets) are for everything else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test unit aarch64 wheel python asan fuzz lint tidy format bench clean bootstrap-%

NVCC := $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
PRESET ?= $(if $(NVCC),cuda,cpu)
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 1
JOBS ?= $(shell nproc)

help: ## this list
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

bootstrap-%:
	@scripts/bootstrap.sh $*
	@$(if $(NVCC),,echo "seesaw: no nvcc on this machine: CPU kernels only")

run: bootstrap-run ## build, make a case, run it, compare it with the reference
	cmake --preset $(PRESET) -DSEESAW_BUILD_TESTS=OFF -DSEESAW_BUILD_BENCH=OFF -DSEESAW_BUILD_LADDER=ON --log-level=WARNING
	cmake --build --preset $(PRESET)
	scripts/demo.sh build/$(PRESET)

test: bootstrap-test lint unit python asan fuzz ## what CI runs, but for aarch64

unit: bootstrap-test ## release build, with its tests
	cmake --preset $(PRESET) -DSEESAW_BUILD_TESTS=ON -DSEESAW_BUILD_BENCH=ON --log-level=WARNING
	cmake --build --preset $(PRESET)
	$(if $(filter cuda,$(PRESET)),scripts/check_ptxas.sh build/$(PRESET)/ptxas)
	ctest --preset $(PRESET) --parallel $(JOBS)

wheel: bootstrap-test ## build/python/wheel/*.whl, for any Linux with glibc 2.34 or newer
	scripts/build_wheel.sh

aarch64: bootstrap-aarch64 ## the CPU kernels' tests on 64-bit Arm, under qemu-user
	scripts/test_aarch64.sh

python: bootstrap-test ## the wheel and its tests; SEESAW_TEST_TORCH=1: with PyTorch too (5 GB)
	scripts/test_python.sh

asan: bootstrap-test ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	cmake --preset asan --log-level=WARNING
	cmake --build --preset asan
	ctest --preset asan --parallel $(JOBS)

fuzz: bootstrap-test ## libFuzzer for FUZZ_SECONDS (60) on every fuzz target; FUZZ_SEED=0: other inputs each time
	cmake --preset asan --log-level=WARNING
	cmake --build --preset asan --target tests/fuzz/all
	scripts/fuzz.sh build/asan $(FUZZ_SECONDS) $(FUZZ_SEED)

lint: bootstrap-test ## layout, include arrows, links, tables, records, and the checks' own tests
	scripts/check_format.sh
	scripts/check_arrows.sh --self-test
	scripts/check_arrows.sh
	scripts/check_ptxas.sh --self-test
	scripts/check_contract.sh
	scripts/check_links.py --self-test
	scripts/check_links.py
	scripts/doc_tables.py --self-test
	scripts/doc_tables.py --check
	scripts/check_records.sh --self-test
	scripts/check_records.sh

tidy: bootstrap-tidy ## clang-tidy on src and tools: minutes
	cmake --preset cpu -DSEESAW_BUILD_TESTS=OFF -DSEESAW_BUILD_BENCH=OFF --log-level=WARNING
	scripts/check_tidy.sh build/cpu

format: bootstrap-test ## lay the code out with clang-format
	scripts/check_format.sh --fix

bench: bootstrap-test ## what `seesaw bench` measures here, beside the machine's roofs
	cmake --preset $(PRESET) -DSEESAW_BUILD_TESTS=OFF -DSEESAW_BUILD_BENCH=ON --log-level=WARNING
	cmake --build --preset $(PRESET)
	build/$(PRESET)/tools/seesaw bench

clean: ## remove the build folder
	rm -rf build
