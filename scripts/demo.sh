#!/bin/bash
# What `make run` shows: a case is made, run, and the library compared with its reference.
# Usage: demo.sh BUILD_DIR
set -euo pipefail
build=$1
seesaw=$build/tools/seesaw
work=$build/demo
mkdir -p "$work"

show() {
  echo
  echo "\$ $*"
  "$@"
}

show "$seesaw" info
show "$seesaw" make-case --batch 4 --heads 128 --len-min 1 --len-max 4096 --causal \
  -o "$work/case.safetensors"
show "$seesaw" run "$work/case.safetensors" --causal --verify -o "$work/result.safetensors"
show "$seesaw" check --quick
echo
echo "The case and its result are in $work. Next: $seesaw --help"
