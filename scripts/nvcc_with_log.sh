#!/bin/sh
# Compiler launcher for nvcc: keeps what ptxas -v says in LOG_DIR, one file per object, and shows the
# rest. CMake calls it as `nvcc_with_log.sh LOG_DIR [ccache] nvcc ... -o OBJECT ...`.
set -u
log_dir=$1
shift
object=unknown
previous=
for argument in "$@"; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
log=$log_dir/$(printf %s "$object" | tr '/ ' '__').log

"$@" >"$log.new" 2>&1
status=$?
mv "$log.new" "$log"
if [ $status -ne 0 ]; then
  cat "$log" >&2
else
  # Everything but the register report: warnings must not disappear.
  grep -v -E '^ptxas info|bytes (stack frame|spill)|^$' "$log" >&2
fi
exit $status
