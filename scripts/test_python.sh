#!/bin/bash
# Builds the wheel, installs it into fresh virtual environments inside the build folder, and runs
# the Python tests: with NumPy alone on the oldest tvm-ffi that is supported and on the newest; with
# SEESAW_TEST_TORCH=1 with PyTorch too (5 GB to install). On a machine with a GPU, tests/python/gpu
# runs wherever PyTorch is.
# Usage: test_python.sh [BUILD_FOLDER]     default: build/python
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/python}
python=${PYTHON:-python3}
oldest=0.1.10
limit_bytes=$((20 * 1024 * 1024))

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "test_python: $python has no venv module, needed: Python 3.9 or later with it." \
       "Install the packages python3 and python3-venv." >&2
  exit 2
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1

# environment NAME PACKAGE...: a virtual environment with these packages, and Seesaw's wheel.
environment() {
  local folder=$build/$1
  shift
  [[ -x $folder/bin/python ]] || "$python" -m venv "$folder"
  "$folder/bin/pip" install -q --upgrade "$@"
  "$folder/bin/pip" install -q --no-deps --force-reinstall "$wheel"
}

# The flags of the main build, so that ccache knows the objects again.
mkdir -p "$build"
rm -rf "$build/wheel"
"$python" -m venv "$build/builder"
"$build/builder/bin/pip" wheel -q --no-deps -w "$build/wheel" \
  --config-settings=cmake.define.SEESAW_WERROR=ON .
wheel=$(echo "$build"/wheel/seesaw-*.whl)
case $wheel in
  *-py3-none-*) ;;
  *) echo "test_python: the wheel is $wheel, allowed: py3-none-*. Check pyproject.toml." >&2
     exit 1 ;;
esac
bytes=$(stat -c %s "$wheel")
if ((bytes > limit_bytes)); then
  echo "test_python: the wheel has $bytes bytes, allowed: $limit_bytes. Look what grew." >&2
  exit 1
fi
echo "test_python: $(basename "$wheel"), $bytes bytes"

with_torch=${SEESAW_TEST_TORCH:-}
unset SEESAW_TEST_TORCH
environment oldest numpy pytest "apache-tvm-ffi==$oldest"
"$build/oldest/bin/python" -m pytest -q tests/python
environment newest numpy pytest ml_dtypes matplotlib "apache-tvm-ffi>=$oldest,<0.2"
"$build/newest/bin/python" -m pytest -q tests/python
if [[ $with_torch == 1 ]]; then
  environment torch numpy pytest ml_dtypes "apache-tvm-ffi>=$oldest,<0.2" torch
  SEESAW_TEST_TORCH=1 "$build/torch/bin/python" -m pytest -q tests/python
fi
