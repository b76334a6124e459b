#!/bin/sh
# A shared library exports the functions that its header declares, all of them and nothing else.
# Usage: exported_symbols.sh LIBRARY HEADER
set -eu
exported=$(nm -D --defined-only "$1" | awk '{print $NF}' | sort)
declared=$(grep -A1 '^SEESAW_API' "$2" | grep -oE 'seesaw_[a-z0-9_]+\(' | tr -d '(' | sort)
if [ "$exported" != "$declared" ]; then
  echo "$1 exports:"
  echo "$exported"
  echo "$2 declares:"
  echo "$declared"
  exit 1
fi
echo "$declared" | wc -l
