#!/bin/bash
# Runs every libFuzzer target for a bounded time, all at once. Fails after a crash, a leak or a
# time-out, and leaves the input that caused it in BUILD_DIR/fuzz.
# Usage: fuzz.sh BUILD_DIR SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
seconds=$2

names=()
processes=()
for target in "$build"/tests/fuzz/fuzz_*; do
  [[ -f $target && -x $target ]] || continue
  name=$(basename "$target")
  corpus=$build/fuzz/$name
  mkdir -p "$corpus"
  seeds=()
  [[ -d tests/fuzz/corpus/$name ]] && seeds=("tests/fuzz/corpus/$name")
  echo "fuzz: $name for $seconds s"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -verbosity=0 -artifact_prefix="$build/fuzz/" "$corpus" "${seeds[@]}" \
    >"$build/fuzz/$name.log" 2>&1 &
  names+=("$name")
  processes+=("$!")
done
if ((${#names[@]} == 0)); then
  echo "fuzz: no target in $build/tests/fuzz, expected fuzz_*. Build the preset 'asan' first." >&2
  exit 2
fi

failed=0
for i in "${!names[@]}"; do
  status=0
  wait "${processes[$i]}" || status=$?
  echo "fuzz: ${names[$i]}: exit code $status"
  sed '/^###### Recommended dictionary/,/^###### End of recommended/d' "$build/fuzz/${names[$i]}.log"
  ((status == 0)) || failed=1
done
((failed == 0)) || exit 1
echo "fuzz: ${#names[@]} targets, no failure"
