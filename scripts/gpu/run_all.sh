#!/bin/bash
# Runs every GPU test, compute-sanitizer's four tools on the quick ones, `seesaw check` on the GPU and
# the benchmark, on a machine with a Hopper GPU, from what scripts/gpu/build.sh collected in
# build/gpu. About 4 minutes.
# Usage: scripts/gpu/run_all.sh [output folder] [benchmark options]
# Exits non-zero if a step failed; what synccheck and racecheck report is in their summaries, and
# docs/notebook/0011 and 0054 explain it. The output folder has every log and bench.json, which
# bench/results/<device>/<date>-<commit>-gpu-bench.json keeps unchanged.
set -uo pipefail
out=$(mkdir -p "${1:-out}" && cd "${1:-out}" && pwd)
[ $# -gt 0 ] && shift
cd "$(dirname "$0")/../../build/gpu" || exit 1
export LD_LIBRARY_PATH=$PWD${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
commit=$(tr '\n' ' ' < commit | sed 's/ $//')
failed=0

# step NAME SECONDS COMMAND...: its log is NAME.txt; says what came out.
step() {
  local name=$1 seconds=$2
  shift 2
  local begin=$SECONDS
  timeout "$seconds" "$@" > "$out/$name.txt" 2>&1
  local rc=$?
  [ $rc -eq 0 ] || failed=1
  echo "$name: exit $rc after $((SECONDS - begin)) s: $(grep -E 'PASSED|FAILED|SUMMARY' "$out/$name.txt" | tail -2 | tr '\n' ' ')"
}

echo "commit $commit"
step tests 120 ./seesaw_gpu_tests
seesaw=sm90.dense_decode.bf16,sm90.dense_decode.fp16
step tests-three 120 env SEESAW_DISABLE=$seesaw ./seesaw_gpu_tests \
  --gtest_filter='Contract.*:Graphs.*:*Grid*:Quick.*:Reference.*:RowGroups.*:Shapes.*:Streams.*'
step baselines 60 ./seesaw_gpu_baselines_tests
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck initcheck; do
    step "$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 1 ./seesaw_gpu_tests \
      --gtest_filter='Quick.*'
  done
  step baselines-memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 1 \
    ./seesaw_gpu_baselines_tests --gtest_filter='*Quick*'
  for tool in synccheck racecheck; do
    step "$tool" 90 compute-sanitizer --tool "$tool" --print-limit 1000 ./seesaw_gpu_tests \
      --gtest_filter='Quick.*'
  done
  # What the tools say of right code in the kernel's patterns: the yardstick for the two above.
  # Some of it they end with an error, so these steps decide nothing.
  before=$failed
  for pattern in 0 1 2 3 4 5 6 7 8; do
    for tool in synccheck racecheck; do
      step "pattern$pattern-$tool" 20 compute-sanitizer --tool "$tool" \
        ./seesaw_sanitizer_patterns "$pattern"
    done
  done
  failed=$before
else
  echo "compute-sanitizer is not installed"
fi
step check 60 ./seesaw check --quick --device cuda
timeout 240 ./seesaw_bench_gpu --commit "$commit" --json "$out/bench.json" "$@" 2>&1 |
  tee "$out/bench.txt" || failed=1
exit $failed
