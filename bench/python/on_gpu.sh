#!/bin/bash
# On a machine with a GPU and PyTorch but no way to install: the Python tests and measurements, from
# what was made elsewhere and lies in one folder:
#   pip wheel --no-deps -w wheels .
#   pip download --no-deps --only-binary=:all: --python-version 3.12 -d wheels apache-tvm-ffi
#   git rev-parse --short HEAD > wheels/commit              (what the wheel was made from)
#   bench/python/pack_rivals.py ... -o wheels/rivals.tar.xz (if there are other libraries to carry)
# Usage: on_gpu.sh WHEELS RESULTS [STEP...]     steps: test overhead compare; all if none is named
# A step that fails or takes too long does not keep the next from running; the exit status says so.
set -uo pipefail
wheels=$(realpath "$1")
mkdir -p "$2"
results=$(realpath "$2")
shift 2
steps=${*:-test overhead compare}
cd "$(dirname "$0")/../.." || exit 2
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl ||
  exit 2
[[ ! -f $wheels/rivals.tar.xz ]] || tar -xf "$wheels/rivals.tar.xz" -C "$site"
[[ ! -f $wheels/commit ]] || export SEESAW_COMMIT=$(<"$wheels/commit")
export PYTHONPATH=$site PYTHONUNBUFFERED=1 FLASHINFER_WORKSPACE_BASE=$site
failed=0

# step SECONDS NAME COMMAND...: its output is also in NAME.txt.
step() {
  local seconds=$1 name=$2 begin=$SECONDS status
  shift 2
  timeout "$seconds" "$@" 2>&1 | tee "$results/$name.txt"
  status=${PIPESTATUS[0]}
  ((status == 0)) || failed=1
  echo "on_gpu: $name: exit $status after $((SECONDS - begin)) s"
}

# compare SECONDS NAME OPTION...: bench/compare.py, its table and CSV under that name.
compare() {
  local seconds=$1 name=$2
  shift 2
  step "$seconds" "$name" \
    python3 bench/compare.py --seconds 0.4 --csv "$results/$name.csv" "$@"
}

others=("flash_mla" "flash_mla (vllm)" "flashinfer" "flash_attn_3" "flash_attn_3 (vllm)"
  "triton (vllm)")
for name in $steps; do
  case $name in
    test) step 150 python-tests \
            python3 -m pytest -q -p no:cacheprovider --durations 5 tests/python/gpu ;;
    overhead) step 60 python-overhead \
                python3 bench/python/overhead.py --library torch --device cuda:0 \
                --json "$results/python-overhead.json" ;;
    compare)
      compare 150 compare --batch 1 4 16 64 128 --heads 16 128 --length 1024 8192 32768 \
        --backends seesaw seesaw.compat.flash_mla "${others[@]}"
      compare 60 compare-varied --batch 128 --heads 128 --length 4096 8192 --s-q 1 2 --varlen \
        --backends seesaw "${others[@]}"
      # PyTorch gathers the whole cache at once: small batches only.
      compare 60 compare-torch --batch 1 4 16 --heads 16 128 --length 1024 8192 \
        --backends seesaw torch ;;
    *) echo "on_gpu: step $name, allowed: test, overhead, compare. Name one of them." >&2; exit 2 ;;
  esac
done
exit "$failed"
