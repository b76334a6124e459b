#!/bin/bash
# Runs every libFuzzer target for a bounded time, all at once. Fails after a crash, a leak or a
# time-out, and leaves the input that caused it in BUILD_DIR/fuzz. The same seed tries nearly the
# same inputs, as far as the time lasts; seed 0 tries others in every run.
# Usage: fuzz.sh BUILD_DIR SECONDS [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
seconds=$2
seed=${3:-1}

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
    -verbosity=0 -print_funcs=0 -seed="$seed" -artifact_prefix="$build/fuzz/" "$corpus" "${seeds[@]}" \
    >"$build/fuzz/$name.log" 2>&1 &
  names+=("$name")
  processes+=("$!")
done
if ((${#names[@]} == 0)); then
  echo "fuzz: no target in $build/tests/fuzz, expected fuzz_*. Build the preset 'asan' first." >&2
  exit 2
fi

# What a target printed, those that failed last.
report() {
  echo "fuzz: $1: exit code $2"
  sed '/^###### Recommended dictionary/,/^###### End of recommended/d' "$build/fuzz/$1.log"
}
failed=()
for i in "${!names[@]}"; do
  status=0
  wait "${processes[$i]}" || status=$?
  if ((status == 0)); then
    report "${names[$i]}" 0
  else
    failed+=("${names[$i]} $status")
  fi
done
for target in "${failed[@]}"; do
  report "${target% *}" "${target#* }"
done
if ((${#failed[@]} > 0)); then
  echo "fuzz: failed: ${failed[*]% *}. The input is in $build/fuzz; give it to the target alone." >&2
  exit 1
fi
echo "fuzz: ${#names[@]} targets, no failure"
