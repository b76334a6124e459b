#!/bin/sh
# clang-tidy on the library and the command. Usage: check_tidy.sh BUILD_DIR (a configured one)
set -eu
cd "$(dirname "$0")/.."
build=$1
[ -e "$build/compile_commands.json" ] || {
  echo "check_tidy: $build has no compile_commands.json. Configure it with cmake first." >&2
  exit 2
}
# Warnings that gcc knows and clang does not would be noise here.
find src tools -name '*.cpp' -print0 |
  xargs -0 -n 1 -P "$(nproc)" clang-tidy -p "$build" --quiet \
    --extra-arg=-Wno-unknown-warning-option
