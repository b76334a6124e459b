#!/bin/sh
# clang-tidy on the library and the command, as far as a configured build compiles them.
# Usage: check_tidy.sh BUILD_DIR
set -eu
cd "$(dirname "$0")/.."
database=$1/compile_commands.json
[ -e "$database" ] || {
  echo "check_tidy: $database does not exist. Configure $1 with cmake first." >&2
  exit 2
}
# Unknown warnings and pragmas: the code is compiled by gcc, which knows them.
sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' "$database" | sort -u |
  grep -E "^$(pwd)/(src|tools)/.*\.cpp$" |
  xargs -n 1 -P "$(nproc)" clang-tidy -p "$1" --quiet \
    --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unknown-pragmas
