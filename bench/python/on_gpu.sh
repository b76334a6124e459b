#!/bin/bash
# On a machine with a GPU and PyTorch but no way to install: the Python tests and measurements, from
# wheels made elsewhere. The folder holds Seesaw's wheel and tvm-ffi's for that machine's Python:
#   pip wheel --no-deps -w wheels .
#   pip download --no-deps --only-binary=:all: --python-version 3.12 -d wheels apache-tvm-ffi
# Usage: on_gpu.sh WHEELS RESULTS [STEP...]     steps: test overhead compare; all if none is named
set -euo pipefail
wheels=$(realpath "$1")
mkdir -p "$2"
results=$(realpath "$2")
shift 2
steps=${*:-test overhead compare}
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
export PYTHONPATH=$site PYTHONUNBUFFERED=1

for step in $steps; do
  case $step in
    test) python3 -m pytest -q tests/python/gpu tests/python/torch_cpu 2>&1 |
            tee "$results/tests.txt" ;;
    overhead) python3 bench/python/overhead.py --library torch --device cuda:0 \
                --json "$results/python-overhead.json" ;;
    compare)
      python3 bench/compare.py --batch 1 4 16 128 --heads 16 128 --length 1024 8192 32768 \
        --seconds 0.5 --backends seesaw seesaw.compat.flash_mla flash_mla flashinfer \
        flash_attn_3 "triton (vllm)" --csv "$results/compare.csv"
      # PyTorch gathers the whole cache at once: small batches only.
      python3 bench/compare.py --batch 1 4 16 --heads 16 128 --length 1024 8192 --seconds 0.5 \
        --backends seesaw torch --csv "$results/compare-torch.csv" ;;
    *) echo "on_gpu: step $step, allowed: test, overhead, compare. Name one of them." >&2; exit 2 ;;
  esac
done
