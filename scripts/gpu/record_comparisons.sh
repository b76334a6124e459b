#!/bin/bash
# Records what docs/compare.md and ladder/README.md show, on a machine with a Hopper GPU, from what
# scripts/gpu/build.sh collected in build/gpu: the climb, the comparison, and the counters of the
# ladder's simple kernels. About 3 minutes.
# Usage: scripts/gpu/record_comparisons.sh [output folder]. Exits non-zero if a step failed.
set -uo pipefail
out=$(mkdir -p "${1:-out}" && cd "${1:-out}" && pwd)
cd "$(dirname "$0")/../../build/gpu" || exit 1
export LD_LIBRARY_PATH=$PWD${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
commit=$(tr '\n' ' ' < commit | sed 's/ $//')
failed=0

# step NAME SECONDS COMMAND...: its log is NAME.txt.
step() {
  local name=$1 seconds=$2 begin=$SECONDS
  shift 2
  timeout "$seconds" "$@" > "$out/$name.txt" 2>&1
  local rc=$?
  [ $rc -eq 0 ] || failed=1
  echo "$name: exit $rc after $((SECONDS - begin)) s"
}

echo "commit $commit"
lens=200,9000,64,3000,31000,700,12,5000,16000,1,1200,4096,4097,8000,2500,640
step ladder-b64 60 ./seesaw ladder --commit "$commit" --json "$out/ladder-b64.json"
step ladder-b4 60 ./seesaw ladder --batch 4 --commit "$commit" --json "$out/ladder-b4.json"
step ladder-varied 60 ./seesaw ladder --seq-lens "$lens" --commit "$commit" \
  --json "$out/ladder-varied.json"
step compare 240 ./seesaw compare --device cuda --heads 32 --len 1024,4096 \
  --dtype fp32,bf16,fp16 --json="$out/compare.json"
step compare-heads128-decode 120 ./seesaw compare --device cuda --phase decode --dtype bf16 \
  --heads 128 --head-dim 128 --d-model 7168 --d-latent 512 --d-rope 64 --batch 16 --len 4096 \
  --no-fit --no-claims --check-tokens 16 \
  --json="$out/compare-heads128-decode.json"
for rung in 1 2; do
  step "counters-rung-$rung" 60 ./seesaw profile --rung $rung --batch 16 --heads 16 \
    --tokens 2048 --device cuda --json="$out/counters-rung-$rung.json"
done
exit $failed
