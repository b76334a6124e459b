#!/bin/sh
# Build gate for GPU kernels. Fails if a kernel spills registers (the portable attention kernel, whose
# queries and results fill them, more than a few words of what is read once a tile; the attention kernels for Hopper
# with producers or three consumers more than what the end of a piece, masks and the walk over pieces need; its swapped
# form with 32 rows more than two addresses, of traced variants more, with 16 rows a word), or if ptxas had to serialise WGMMA
# (C7507 to C7520, of which a printf in a kernel is one): both cost more than most optimisations win.
# Usage: check_ptxas.sh LOG_DIR     logs written by nvcc_with_log.sh
#        check_ptxas.sh --self-test
set -eu

check_logs() {
  # One awk pass: remember the kernel's name, complain about what follows it.
  awk '
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] }
    /bytes spill stores/ {
      kernels++
      stores = loads = 0
      for (i = 1; i <= NF; i++) {
        if ($i == "spill" && $(i + 1) ~ /^stores/) stores = $(i - 2)
        if ($i == "spill" && $(i + 1) ~ /^loads/) loads = $(i - 2)
      }
      allowed = kernel ~ /attention4sm8016attention_kernel/ ? 128 : kernel ~ /attention4sm9016attention_kernel.*Li64E/ ? 412 : kernel ~ /attention4sm9016attention_kernel.*Li32E/ ? 160 : kernel ~ /attention4sm9016attention_kernel.*Traced.*Li16E/ ? 16 : kernel ~ /dense_decode_three_kernel/ ? 400 : 0
      if (stores + loads > allowed) {
        printf "%s: kernel %s spills: %d bytes stored, %d loaded; allowed: %d together. ", \
               FILENAME, kernel, stores, loads, allowed
        print "Free registers, or change the launch bounds."
        bad = 1
      }
    }
    /wgmma.* serialized|C7507|C7511|C7512|C7518|C7520/ {
      printf "%s: %s; allowed: no serialised WGMMA. ", FILENAME, $0
      print "Keep accumulators out of functions, branches and copies between wgmma calls; no function may be called."
      bad = 1
    }
    END {
      if (!bad) printf "check_ptxas: %d kernels, spills as allowed, no serialised WGMMA\n", kernels
      exit bad
    }' "$@"
}

self_test() {
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  cat >"$dir/good.log" <<'LOG'
ptxas info    : Compiling entry function 'good' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
LOG
  cat >"$dir/spill.log" <<'LOG'
ptxas info    : Compiling entry function 'spilling' for 'sm_90a'
    16 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads
LOG
  cat >"$dir/serial.log" <<'LOG'
ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized
LOG
  cat >"$dir/serial_by_call.log" <<'LOG'
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to wgmma pipeline crossing function boundary at a function call
LOG
  check_logs "$dir/good.log" >/dev/null || { echo "check_ptxas: refused a good log" >&2; exit 1; }
  printf '%s\n' "ptxas info    : Compiling entry function 'attention4sm8016attention_kernel' for 'sm_80'" \
    "    16 bytes stack frame, 100 bytes spill stores, 20 bytes spill loads" >"$dir/few.log"
  check_logs "$dir/few.log" >/dev/null || { echo "check_ptxas: refused few.log" >&2; exit 1; }
  for bad in spill serial serial_by_call; do
    if check_logs "$dir/$bad.log" >/dev/null; then
      echo "check_ptxas: accepted $bad.log" >&2
      exit 1
    fi
  done
  echo "check_ptxas: self-test passed"
}

case ${1:-} in
  --self-test) self_test ;;
  "") echo "check_ptxas: no log folder given. Usage: check_ptxas.sh LOG_DIR" >&2; exit 2 ;;
  *)
    set -- "$1"/*.log
    [ -e "$1" ] || { echo "check_ptxas: $1 does not exist: no CUDA build there" >&2; exit 2; }
    check_logs "$@"
    ;;
esac
