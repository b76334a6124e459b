#!/bin/bash
# Runs every libFuzzer target for a bounded time. Fails on the first crash, leak or time-out, and
# leaves the input that caused it in BUILD_DIR/fuzz.
# Usage: fuzz.sh BUILD_DIR SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
seconds=$2

targets=("$build"/tests/fuzz/fuzz_*)
ran=0
for target in "${targets[@]}"; do
  [[ -f $target && -x $target ]] || continue
  name=$(basename "$target")
  corpus=$build/fuzz/$name
  mkdir -p "$corpus"
  seeds=()
  [[ -d tests/fuzz/corpus/$name ]] && seeds=("tests/fuzz/corpus/$name")
  echo "fuzz: $name for $seconds s"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -verbosity=0 -artifact_prefix="$build/fuzz/" "$corpus" "${seeds[@]}" 2>&1 |
    sed '/^###### Recommended dictionary/,/^###### End of recommended/d'
  ran=$((ran + 1))
done
if ((ran == 0)); then
  echo "fuzz: no target in $build/tests/fuzz, expected fuzz_*. Build the preset 'fuzz' first." >&2
  exit 2
fi
echo "fuzz: $ran targets, no failure"
