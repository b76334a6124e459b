#!/bin/sh
# The README's C++ is, letter for letter, a part of the program that the consumers build and run: what
# stands there between the marks "// [README" and "// README]", moved to the left edge.
# Usage: readme_example.sh README PROGRAM
set -eu
shown=$(awk '/^```cpp$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$1")
part=$(sed -n '/\/\/ \[README$/,/\/\/ README\]$/p' "$2" | sed -e '1d' -e '$d' -e 's/^  //')
if [ -z "$part" ] || [ "$shown" != "$part" ]; then
  echo "$1: its \`\`\`cpp block is not the marked part of $2:"
  printf '%s\n' "$shown" > shown.txt
  printf '%s\n' "$part" | diff shown.txt - || true
  rm -f shown.txt
  exit 1
fi
