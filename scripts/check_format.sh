#!/bin/sh
# Checks that clang-format would change nothing; with --fix, lets it.
set -eu
cd "$(dirname "$0")/.."

mode="--dry-run --Werror"
[ "${1:-}" = --fix ] && mode=-i
if ! command -v clang-format >/dev/null; then
  echo "check_format: no clang-format. Install it with 'make bootstrap-test'." >&2
  exit 2
fi

rooms=
for room in include src lab tools python bench tests ladder; do
  [ -d $room ] && rooms="$rooms $room"
done
# $rooms and $mode are lists of words without spaces of their own.
# shellcheck disable=SC2086
find $rooms -type f \( -name '*.h' -o -name '*.hpp' -o -name '*.c' -o -name '*.cpp' \
  -o -name '*.cu' -o -name '*.cuh' \) -print0 | xargs -0 clang-format $mode
