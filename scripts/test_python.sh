#!/bin/bash
# Builds the wheel (scripts/build_wheel.sh), installs it into virtual environments inside the build
# folder, and runs the Python tests: with NumPy alone on the oldest tvm-ffi that is supported, some of
# them again in a clean root (scripts/check_wheel.sh); on the newest with what the rest of the tests
# use; with SEESAW_TEST_TORCH=1 also with PyTorch and JAX (6 GB to install). On a machine with a GPU,
# tests/python/gpu runs wherever PyTorch is. An environment that is there already is used as it is:
# remove the folder for newer packages.
# Usage: test_python.sh [--prepare] [BUILD_FOLDER]     default: build/python
#   --prepare: only fills the environments, which takes the network, not the processor. CI does it
#   while the compiler works; a run meanwhile waits for it.
set -euo pipefail
cd "$(dirname "$0")/.."
prepare_only=
if [[ ${1:-} == --prepare ]]; then
  prepare_only=1
  shift
fi
build=${1:-build/python}
python=${PYTHON:-python3}
oldest=0.1.10
newest_packages=(numpy pytest ml_dtypes matplotlib jinja2 "apache-tvm-ffi>=$oldest,<0.2")
with_torch=${SEESAW_TEST_TORCH:-}
[[ $with_torch != 1 ]] || newest_packages+=(torch "jax[cpu]" jax-tvm-ffi "transformers>=5.17" safetensors)

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "test_python: $python has no venv module, needed: Python 3.9 or later with it." \
       "Install the packages python3 and python3-venv." >&2
  exit 2
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p "$build"

# say TEXT: what the step before took.
say() {
  echo "test_python: $1 after $SECONDS s"
  SECONDS=0
}

# environment NAME PACKAGE...: a virtual environment with these packages.
environment() {
  local folder=$build/$1
  shift
  [[ $(cat "$folder/packages" 2>/dev/null) != "$*" ]] || return 0
  rm -rf "$folder"
  "$python" -m venv "$folder"
  "$folder/bin/pip" install -q "$@"
  echo "$*" > "$folder/packages"
}

# test_in NAME [PYTEST_OPTION...]: all tests, with the wheel installed there.
test_in() {
  local folder=$build/$1
  shift
  "$folder/bin/pip" install -q --no-deps --force-reinstall "$wheel"
  "$folder/bin/python" -m pytest -q -p no:cacheprovider --durations 5 --durations-min 5 "$@" \
    tests/python
}

exec {lock}> "$build/lock"
flock "$lock"
environment oldest numpy pytest "apache-tvm-ffi==$oldest"
environment newest "${newest_packages[@]}"
flock -u "$lock"
say "environments are there"
[[ -z $prepare_only ]] || exit 0

scripts/build_wheel.sh "$build"
wheel=$(echo "$build"/wheel/seesaw-*.whl)
say "the wheel is built"

SEESAW_TEST_TORCH= test_in oldest
say "NumPy alone, tvm-ffi $oldest: tested"
scripts/check_wheel.sh "$build/oldest"
say "a clean root: tested"
test_in newest
say "newest packages${with_torch:+ with PyTorch and JAX}: tested"
