#!/bin/bash
# Checks that includes point one way (docs/architecture.md): every room may include itself and the
# rooms listed for it below, nothing else.
# Usage: check_arrows.sh [ROOT]        the repository; default: the one that holds this script
#        check_arrows.sh --self-test   plants violations and checks that each is found
set -euo pipefail

# room: rooms that it may include, besides itself. The first matching line decides. "public" is
# include/seesaw; ops/X is one operation, and includes no other; bench reaches a kernel's steps, to
# time them alone.
arrows='
public:           public
base:             base
core:             core base public
split:            split core base
cpu:              cpu core base
gpu:              gpu split core base
attention:        split cpu gpu core base
ops/*:            attention split cpu gpu core base public
engine:           engine boundary cpu gpu core base public
operations:       ops/* core
boundary:         boundary public base
baselines:        baselines boundary gpu public base
files:            files
layers:           layers baselines files boundary public base
lab:              lab core public base
tools:            tools files lab public
python:           python public
ladder:           ladder gpu base public
bench:            bench lab ops/* attention split cpu gpu core base public
tests/consumers:  tests/consumers public
'

# Room of a path under the repository; empty for what no rule covers.
room_of_file() {
  case $1 in
    include/seesaw/*) echo public ;;
    src/ops/*/*) cut -d/ -f2-3 <<<"$1" ;;
    src/operations.cpp) echo operations ;;
    src/*/*) cut -d/ -f2 <<<"$1" ;;
    tests/consumers/*) echo tests/consumers ;;
    tools/* | python/* | bench/* | ladder/* | lab/*) cut -d/ -f1 <<<"$1" ;;
  esac
}

# Folder that a room's own includes may start from.
root_of_room() {
  case $1 in
    public) echo include ;;
    tools | python | bench | ladder | lab | tests/consumers) echo "$1" ;;
    *) echo "src/$1" ;;
  esac
}

# Room of an include as written in `file` of room `from`; "own" for one beside it or below its root.
room_of_include() {
  local written=$1 file=$2 from=$3
  case $written in
    seesaw/*) echo public ;;
    ops/*/*) cut -d/ -f1-2 <<<"$written" ;;
    attention/* | base/* | boundary/* | core/* | split/* | cpu/* | gpu/* | engine/* | baselines/* | files/* | \
      layers/* | lab/* | tools/* | python/* | bench/* | ladder/*)
      cut -d/ -f1 <<<"$written" ;;
    *)
      if [[ -e $(dirname "$file")/$written || -e $(root_of_room "$from")/$written ]]; then
        echo own
      else
        echo unknown
      fi
      ;;
  esac
}

# Whether room $1 may include room $2. The first matching line of `arrows` decides.
allowed() {
  local pattern targets target
  [[ $1 == "$2" || $2 == own ]] && return 0
  while IFS=: read -r pattern targets; do
    [[ -n $pattern && $1 == $pattern ]] || continue
    for target in $targets; do
      [[ $2 == $target ]] && return 0
    done
    return 1
  done <<<"$arrows"
  return 1
}

check() {
  local root=$1 bad=0 count=0 file line written from to
  cd "$root"
  local rooms=()
  for room in include src lab tools python bench ladder tests/consumers; do
    [[ -d $room ]] && rooms+=("$room")
  done
  set -f  # the lists above hold patterns, not file names
  while IFS=: read -r file line written; do
    from=$(room_of_file "$file")
    [[ -n $from ]] || continue
    count=$((count + 1))
    to=$(room_of_include "$written" "$file" "$from")
    if [[ $written == *..* ]]; then
      echo "$file:$line: includes \"$written\", allowed: paths without '..'. Name it from src/."
      bad=1
    elif [[ $from == public && $to != public ]]; then
      echo "$file:$line: includes \"$written\", allowed: seesaw/*. The public API stands alone."
      bad=1
    elif ! allowed "$from" "$to"; then
      echo "$file:$line: $from includes \"$written\" ($to); the arrows do not allow it." \
           "See docs/architecture.md."
      bad=1
    fi
  done < <(grep -rnE --include='*.'{h,hpp,c,cpp,cu,cuh} \
             '^[[:space:]]*#[[:space:]]*include[[:space:]]*("|<seesaw/)' "${rooms[@]}" |
           sed -E 's/^([^:]*):([0-9]+):[^"<]*["<]([^">]*)[">].*/\1:\2:\3/')
  if grep -rnE '#[[:space:]]*include[[:space:]]*<(cuda|cublas|cute|cutlass|Python|torch|hwy)' include
  then
    echo "include/seesaw: foreign types in the public API; allowed: the standard library."
    bad=1
  fi
  [[ $bad == 0 ]] && echo "check_arrows: $count includes, all point one way"
  return $bad
}

self_test() {
  local script dir
  script=$(realpath "$0")
  dir=$(mktemp -d)
  trap "rm -rf '$dir'" EXIT
  mkdir -p "$dir"/{include/seesaw,tools,lab}
  mkdir -p "$dir"/src/{attention,base,baselines,core,split,cpu,gpu,engine,files,layers}
  mkdir -p "$dir"/src/ops/{dense_decode/sm90,merge_states}
  plant() { printf '#include "%s"\n' "$2" >"$dir/$1"; }
  plant src/core/a.hpp base/a.hpp
  plant src/ops/dense_decode/sm90/a.cu gpu/a.cuh
  plant src/ops/dense_decode/a.cpp ops/dense_decode/sm90/a.hpp
  plant src/ops/dense_decode/b.cpp attention/a.hpp
  plant src/attention/a.hpp split/a.hpp
  plant src/operations.cpp ops/merge_states/a.hpp
  plant src/engine/a.cpp core/a.hpp
  plant tools/a.cpp seesaw/seesaw.h
  plant tools/b.cpp lab/a.hpp
  plant tools/c.cpp files/a.hpp
  plant src/layers/a.cpp baselines/a.hpp
  "$script" "$dir" >/dev/null || { echo "check_arrows: refused allowed arrows" >&2; exit 1; }

  local case path include
  for case in src/base/bad.hpp=core/a.hpp src/core/bad.hpp=engine/a.hpp \
              src/ops/merge_states/bad.cpp=ops/dense_decode/a.hpp \
              src/ops/dense_decode/bad.cpp=engine/a.hpp src/engine/bad.cpp=ops/dense_decode/a.hpp \
              src/gpu/bad.cu=ops/dense_decode/a.hpp src/split/bad.hpp=gpu/a.hpp \
              src/cpu/bad.hpp=gpu/a.cuh src/core/bad.hpp=ops/dense_decode/a.hpp \
              src/attention/bad.hpp=ops/dense_decode/a.hpp src/cpu/bad.hpp=attention/a.hpp \
              src/baselines/bad.hpp=core/a.hpp tools/bad.cpp=baselines/a.hpp \
              src/baselines/bad.cpp=layers/a.hpp src/layers/bad.cpp=core/a.hpp src/files/bad.hpp=base/a.hpp \
              tools/bad.cpp=core/a.hpp lab/bad.cpp=tools/a.hpp src/core/bad.cpp=../base/a.hpp \
              src/core/bad.hpp=nowhere.hpp include/seesaw/bad.h=base/a.hpp; do
    path=${case%%=*} include=${case#*=}
    plant "$path" "$include"
    if "$script" "$dir" >/dev/null; then
      echo "check_arrows: did not find that $path includes $include" >&2
      exit 1
    fi
    rm "$dir/$path"
  done
  echo "check_arrows: self-test passed"
}

if [[ ${1:-} == --self-test ]]; then
  self_test
else
  check "${1:-$(dirname "$0")/..}"
fi
