#!/bin/bash
# Checks that includes point one way (docs/architecture.md): every room may include itself and the
# rooms listed for it below, nothing else.
# Usage: check_arrows.sh [ROOT]        the repository; default: the one that holds this script
#        check_arrows.sh --self-test   plants violations and checks that each is found
set -euo pipefail

# room: rooms that it may include. "public" is include/seesaw. kernels/sm* share through
# kernels/cuda; bench may reach a kernel's microkernel, to time it alone; `seesaw bench` measures the
# machine's roofs with bench/cpu/roofs, and bench/gpu holds device memory as tests/gpu does.
arrows='
public:           public
base:             base
problem:          problem base
plan:             plan problem base
kernels/cuda:     kernels/cuda plan problem base
kernels/sm*:      kernels/cuda plan problem base
kernels/*:        plan problem base
registry:         registry kernels/* plan problem base
boundary:         boundary public base
api:              api boundary public registry plan problem base
baselines:        baselines boundary kernels/cuda public base
tools:            tools public bench
bindings:         bindings public
ladder:           ladder public kernels/cuda base
bench:            bench public kernels/* plan problem base tests/gpu
tests/consumers:  tests/consumers public
'

# Room of a path under the repository; empty for what no rule covers.
room_of_file() {
  case $1 in
    include/seesaw/*) echo public ;;
    src/kernels/*/*) cut -d/ -f2-3 <<<"$1" ;;
    src/*/*) cut -d/ -f2 <<<"$1" ;;
    tests/consumers/*) echo tests/consumers ;;
    tools/* | bindings/* | bench/* | ladder/*) cut -d/ -f1 <<<"$1" ;;
  esac
}

# Folder that a room's own includes may start from.
root_of_room() {
  case $1 in
    public) echo include ;;
    tools | bindings | bench | ladder | tests/consumers) echo "$1" ;;
    *) echo "src/$1" ;;
  esac
}

# Room of an include as written in `file` of room `from`; "own" for one beside it or below its root.
room_of_include() {
  local written=$1 file=$2 from=$3
  case $written in
    seesaw/*) echo public ;;
    kernels/*/*) cut -d/ -f1-2 <<<"$written" ;;
    base/* | boundary/* | problem/* | plan/* | registry/* | api/* | baselines/* | tools/* | bindings/* | \
      bench/* | ladder/*)
      cut -d/ -f1 <<<"$written" ;;
    *)
      if [[ -e $(dirname "$file")/$written || -e $(root_of_room "$from")/$written ]]; then
        echo own
      elif [[ -e bench/$written ]]; then
        echo bench
      elif [[ -e tests/gpu/$written ]]; then
        echo tests/gpu
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
  for room in include src tools bindings bench ladder tests/consumers; do
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
  mkdir -p "$dir"/{include/seesaw,tools,src/{base,baselines,plan,registry,kernels/{cpu,cuda,reference,sm90}}}
  plant() { printf '#include "%s"\n' "$2" >"$dir/$1"; }
  plant src/plan/a.hpp base/a.hpp
  plant src/kernels/sm90/a.cu kernels/cuda/a.cuh
  plant src/registry/a.cpp kernels/cpu/a.hpp
  plant tools/a.cpp seesaw/seesaw.h
  "$script" "$dir" >/dev/null || { echo "check_arrows: refused allowed arrows" >&2; exit 1; }

  local case path include
  for case in src/base/bad.hpp=plan/a.hpp src/plan/bad.hpp=registry/a.hpp \
              src/kernels/cpu/bad.cpp=kernels/reference/a.hpp \
              src/kernels/cpu/bad.hpp=kernels/cuda/a.cuh \
              src/kernels/cuda/bad.cu=kernels/sm90/a.cuh src/kernels/sm90/bad.cu=registry/a.hpp \
              src/baselines/bad.hpp=plan/a.hpp tools/bad.cpp=baselines/a.hpp \
              tools/bad.cpp=plan/a.hpp src/plan/bad.cpp=../base/a.hpp \
              src/plan/bad.hpp=nowhere.hpp include/seesaw/bad.h=base/a.hpp; do
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
