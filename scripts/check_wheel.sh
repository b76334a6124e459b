#!/bin/bash
# Runs tests of the wheel where nothing of ours is: in a root folder that holds Python, the C and C++
# libraries and what pip installed, and neither a compiler nor the libraries that the wheel was built
# with. Needs Linux namespaces: root, or a kernel that lets users make them; says so where it has not.
# Usage: check_wheel.sh ENVIRONMENT    a virtual environment with the wheel, NumPy and pytest
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$(realpath "$1")
root=$environment/clean-root

spaces=(unshare --mount)
((EUID == 0)) || spaces=(unshare --mount --map-root-user)
if ! "${spaces[@]}" true 2>/dev/null; then
  echo "check_wheel: skipped: this machine lets nobody make a mount namespace" \
       "(${spaces[*]} fails). Run it as root outside a container." >&2
  exit 0
fi

"${spaces[@]}" rm -rf "$root"
mkdir -p "$root"/{dev,proc,tmp,packages,tests}
python=$(realpath "$environment/bin/python")
stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
# Python, its library where that is shared, its modules, and what all of them are linked to.
cp -L --parents "$python" "$root"
mkdir -p "$root$stdlib"
tar -C "$stdlib" --exclude=site-packages --exclude=dist-packages --exclude=test --exclude='config-*' \
  -c . | tar -C "$root$stdlib" -x
# The loader's own list, and the libraries that manylinux allows every wheel to expect.
{
  ldd "$python" "$stdlib"/lib-dynload/*.so | grep -o '/[^ ]*' | grep -v ':$'
  for library in libstdc++.so.6 libgcc_s.so.1 libm.so.6 libdl.so.2 librt.so.1 libpthread.so.0; do
    ldconfig -p | grep -F "$library (libc6,x86-64" | grep -o '/[^ ]*$' | head -1
  done
} | sort -u | while read -r library; do
  cp -L --parents "$library" "$root"
done
site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -a "$site"/. "$root/packages"
cp -a tests/python/{conftest,cases,baselines_reference,test_contained,test_dense_decode,test_baselines}.py \
  "$root/tests"

ours=$(find "$root" -path "$root/packages" -prune -o \
  \( -name 'lib*gomp*' -o -name 'libhwy*' -o -name 'libdnnl*' -o -name 'libOpenCL*' -o -name 'cc1*' \
     -o -name 'libcuda*' \) -print)
if [[ -n $ours ]]; then
  echo "check_wheel: the clean root holds $ours, allowed: Python and what every system has. Correct" \
       "the list of libraries above." >&2
  exit 1
fi

touch "$root/dev/null" "$root/dev/urandom"
"${spaces[@]}" bash -ec '
  root=$1 python=$2
  for device in null urandom; do mount --bind "/dev/$device" "$root/dev/$device"; done
  mount --rbind /proc "$root/proc"
  exec env -i PYTHONPATH=/packages SEESAW_CLEAN_ROOT=1 HOME=/tmp "$(command -v chroot)" "$root" "$python" \
    -m pytest -q -p no:cacheprovider /tests/test_contained.py /tests/test_dense_decode.py \
    "/tests/test_baselines.py::test_agrees_with_float64"
' - "$root" "$python"
"${spaces[@]}" rm -rf "$root"
echo "check_wheel: works without the libraries that it was built with"
