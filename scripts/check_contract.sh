#!/bin/sh
# Every test that docs/contract.md names exists: `Suite.Name` in backquotes is a TEST of that suite.
set -eu
cd "$(dirname "$0")/.."
tests=$(grep -rhoE '^TEST(_F|_P)?\([A-Za-z0-9_]+, *[A-Za-z0-9_]+\)' tests/unit tests/gpu tests/emulator |
        sed -E 's/TEST(_F|_P)?\(([^,]+), *([^)]+)\)/\2.\3/' | sort -u)
named=$(grep -oE '`[A-Z][A-Za-z]+\.[A-Z][A-Za-z0-9]+`' docs/contract.md | tr -d '`' | sort -u)
missing=$(printf '%s\n' "$named" | grep -vxF "$tests" || true)
if [ -n "$missing" ]; then
  echo "docs/contract.md names tests that do not exist, allowed: those in tests/unit, tests/gpu and tests/emulator:"
  printf '%s\n' "$missing"
  exit 1
fi
echo "check_contract: $(printf '%s\n' "$named" | wc -l) tests named, all exist"
