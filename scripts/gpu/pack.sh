#!/bin/bash
# Packs what a bare machine with a GPU needs to test and to measure this commit into one archive: what
# build.sh collects, the Python package from its wheel, tvm-ffi, and a rival, FlashMLA's kernels for
# Hopper (the package sgl-flash-mla). The other machine has Python with PyTorch, a driver and this tree:
#   mkdir pack && tar -C pack -xJf pack.tar.xz
#   export LD_LIBRARY_PATH=$PWD/pack PYTHONPATH=$PWD/pack/site
#   pack/seesaw_gpu_tests
#   python3 -m pytest tests/python/gpu
#   python3 bench/gpu/sparse.py --library pack/libseesaw.so.0.1 --flash-mla --steps
# Needs nvcc and the network, no GPU. Usage: scripts/gpu/pack.sh [ARCHIVE]     default: build/pack.tar.xz
#   PYTHON_VERSION: the other machine's, default 3.12
#   LEAVE_OUT: programs of build/gpu, default the ladder's; the archive then has 63 MB, without
#     seesaw_bench_gpu 51 MB
#   RIVALS: packages from PyPI without what they depend on, default sgl-flash-mla==1.0.0
set -euo pipefail
cd "$(dirname "$0")/../.."
archive=$(realpath -m "${1:-build/pack.tar.xz}")
version=${PYTHON_VERSION:-3.12}
read -ra rivals <<< "${RIVALS:-sgl-flash-mla==1.0.0}"
folder=build/pack
wheels=$folder.wheels

scripts/gpu/build.sh
scripts/build_wheel.sh
rm -rf "$folder" "$wheels"
mkdir -p "$folder/site" "$wheels" "$(dirname "$archive")"
cp build/gpu/* "$folder/"
find "$folder" -maxdepth 1 -type f ! -name commit -exec strip --strip-unneeded {} +
python3 -m pip download -q --no-deps --only-binary :all: --python-version "$version" \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --platform any -d "$wheels" "apache-tvm-ffi>=0.1.10,<0.2" "${rivals[@]}"
for wheel in build/python/wheel/*.whl "$wheels"/*.whl; do
  python3 -m zipfile -e "$wheel" "$folder/site"
done
for program in ${LEAVE_OUT:-seesaw_ladder seesaw_ladder_tune}; do rm -f "$folder/$program"; done
rm -f "$folder"/site/seesaw.libs/libdnnl* # which only layers on the CPU need
tar -C "$folder" -cf - . | xz -T0 -3 > "$archive"
du -sh "$archive"
