#!/bin/bash
# Checks that bench/results (its README has the rules) holds one record of a device and a benchmark,
# the newest, and nothing that is drawn from records.
# Usage: check_records.sh [FOLDER]      default: bench/results of this repository
#        check_records.sh --self-test   plants violations and checks that each is found
set -euo pipefail

name='^[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{7}-([a-z0-9-]+)\.(json|csv|txt)$'

check() {
  local folder=$1 bad=0 count=0 path file key
  declare -A seen=()
  while read -r path; do
    file=${path##*/}
    count=$((count + 1))
    if [[ ! $file =~ $name ]]; then
      echo "$path: no record's name, allowed: DEVICE/YYYY-MM-DD-COMMIT-BENCHMARK.json, .csv or" \
           ".txt. Rename it; keep pages and plots elsewhere."
      bad=1
      continue
    fi
    key=${path%/*}/${BASH_REMATCH[1]}
    if [[ -n ${seen[$key]:-} ]]; then
      echo "$path: ${seen[$key]} is a record of the same device and benchmark, allowed: one." \
           "Remove the older; git keeps it."
      bad=1
    fi
    seen[$key]=$file
  done < <(cd "$folder" && find . -type f ! -path ./README.md -printf '%P\n' | sort)
  [[ $bad == 0 ]] && echo "check_records: $count records, one of each device and benchmark"
  return $bad
}

self_test() {
  local dir bad
  dir=$(mktemp -d)
  trap "rm -rf '$dir'" EXIT
  mkdir "$dir"/{a,b}
  touch "$dir"/{a,b}/2026-01-02-0123abc-run.json "$dir"/a/2026-01-02-0123abc-run-b4.json
  check "$dir" >/dev/null || { echo "check_records: refused a good folder" >&2; exit 1; }
  for bad in a/2026-01-03-4567def-run.json a/2026-01-02-0123abc-run.csv \
             a/2026-01-02-0123abc-page.html a/run.json b/2026-01-02-0123abc.json; do
    touch "$dir/$bad"
    if check "$dir" >/dev/null; then
      echo "check_records: did not find $bad" >&2
      exit 1
    fi
    rm "$dir/$bad"
  done
  echo "check_records: self-test passed"
}

if [[ ${1:-} == --self-test ]]; then
  self_test
else
  check "${1:-$(dirname "$0")/../bench/results}"
fi
