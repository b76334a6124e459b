#!/bin/bash
# Builds the CPU kernels' tests for 64-bit Arm and runs them under qemu-user: NEON on any machine.
# The libraries come from Debian, for arm64, into build/aarch64-libraries: unpacked, not installed, so
# that the system's own packages stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/aarch64
libraries=$PWD/build/aarch64-libraries
packages=(libhwy-dev:arm64 libhwy1:arm64 libfmt-dev:arm64 libfmt9:arm64 libgtest-dev:arm64 libgmock-dev:arm64
          nlohmann-json3-dev libcli11-dev)
# The emulated instructions take 20 to 50 times as long: the contract, and shapes by dtype and size.
filter='*Contract*/cpu:*Shapes.Dtypes/cpu:*Shapes.HeadDimensions/cpu:*Formats*/cpu:-*BatchInvariantModeIsAsAccurate*'

if [[ ! -f $libraries/complete ]]; then
  rm -rf "$libraries"
  mkdir -p "$libraries"/apt/lists/partial "$libraries"/debs
  apt=(apt-get -qq -o APT::Architectures::=arm64 -o Dir::State::Lists="$libraries/apt/lists"
       -o APT::Sandbox::User="$(id -un)")
  "${apt[@]}" update
  (cd "$libraries/debs" && "${apt[@]}" download "${packages[@]}")
  for package in "$libraries"/debs/*.deb; do
    dpkg -x "$package" "$libraries"
  done
  rm -r "$libraries/apt" "$libraries/debs"
  touch "$libraries/complete"
fi

cmake --preset aarch64 --log-level=WARNING
targets=(unit_dense_decode unit_base unit_core unit_cpu unit_merge_states unit_append unit_gather)
cmake --build $build --target "${targets[@]}"

declare -A filters=(
  [unit_dense_decode]=$filter
  # qemu has threads of its own, so that no child of a program under it is one of a single thread.
  [unit_base]=-Fork.AChildOfOneThreadMayHaveMany)
processes=()
for target in "${targets[@]}"; do  # all at once: most of them have one thread
  program=$(find $build/tests/unit -name "$target" -type f)
  OMP_WAIT_POLICY=passive qemu-aarch64 -L /usr/aarch64-linux-gnu "$program" --gtest_brief=1 \
    --gtest_filter="${filters[$target]:-*}" >"$build/$target.log" 2>&1 &
  processes+=("$!")
done
failed=0
for i in "${!targets[@]}"; do
  status=0
  wait "${processes[$i]}" || status=$?
  echo "aarch64: ${targets[$i]}: exit code $status after $SECONDS s"
  cat "$build/${targets[$i]}.log"
  ((status == 0)) || failed=1
  if grep -q 'PASSED.* 0 tests' "$build/${targets[$i]}.log"; then
    echo "aarch64: ${targets[$i]} ran no test, expected: some. Mend its filter." >&2
    failed=1
  fi
done
exit $failed
