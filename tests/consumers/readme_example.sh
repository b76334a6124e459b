#!/bin/sh
# The README's C++ example is, letter for letter, the program that the consumers build and run.
# Usage: readme_example.sh README PROGRAM
set -eu
block=$(awk '/^```cpp$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$1")
if [ "$block" != "$(cat "$2")" ]; then
  echo "$1: its \`\`\`cpp block is not $2:"
  printf '%s\n' "$block" | diff - "$2"
  exit 1
fi
