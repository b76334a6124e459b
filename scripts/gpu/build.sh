#!/bin/bash
# Builds the GPU programs and collects in build/gpu what a machine with a GPU needs to run them:
# the programs and the few libraries that they are not linked with statically. run_all.sh finds
# both there.
# Needs nvcc, no GPU. Usage: scripts/gpu/build.sh [cmake arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."

host=build/gpu-host
carry=build/gpu
programs=(tests/gpu/seesaw_gpu_tests bench/gpu/seesaw_bench_gpu tools/seesaw
  tests/gpu/seesaw_sanitizer_patterns tests/gpu/baselines/seesaw_gpu_baselines_tests
  ladder/seesaw_ladder ladder/seesaw_ladder_tune)
targets=(seesaw_gpu_tests seesaw_bench_gpu seesaw_tool seesaw_sanitizer_patterns
  seesaw_gpu_baselines_tests seesaw_ladder seesaw_ladder_tune)

mkdir -p build
# Without oneDNN, which is as large as everything else together and needed for the CPU only.
cmake -S . -B "$host" -G Ninja -DSEESAW_CUDA=ON -DSEESAW_DNNL_LIBRARY=OFF "$@" > "$host.log" 2>&1 ||
  { tail -20 "$host.log"; exit 1; }
cmake --build "$host" --target "${targets[@]}"

rm -rf "$carry"
mkdir -p "$carry"
for program in "${programs[@]}"; do
  cp "$host/$program" "$carry/"
  # The C library and the loader are the other machine's own.
  ldd "$host/$program" | awk '$3 ~ /lib(seesaw|gomp|hwy|fmt)/ {print $3}' | sort -u |
    while read -r library; do cp -L "$library" "$carry/"; done
done
git rev-parse --short HEAD > "$carry/commit"
git diff --quiet HEAD -- src include bench/gpu tests/gpu || echo "with local changes" >> "$carry/commit"
du -sh "$carry"
