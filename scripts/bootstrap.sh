#!/bin/bash
# Installs the Debian packages that a goal of the Makefile needs and that are missing. As root it
# installs them; otherwise it prints the one command that would, and stops.
# Usage: bootstrap.sh run|test|aarch64|tidy
# SEESAW_SKIP_BOOTSTRAP=1 trusts that the tools are there, installed by other means.
set -euo pipefail

run_packages=(cmake ninja-build g++ pkg-config
              libhwy-dev libfmt-dev libcli11-dev nlohmann-json3-dev libdnnl-dev libeigen3-dev)
test_packages=("${run_packages[@]}" libgtest-dev libgmock-dev libbenchmark-dev
               clang libclang-rt-14-dev libomp-14-dev clang-format python3 python3-venv
               ccache) # the wheel compiles what the unit tests have compiled
aarch64_packages=("${test_packages[@]}" g++-aarch64-linux-gnu qemu-user)
tidy_packages=("${test_packages[@]}" clang-tidy)

case ${1:-} in
  run) packages=("${run_packages[@]}") ;;
  test) packages=("${test_packages[@]}") ;;
  aarch64) packages=("${aarch64_packages[@]}") ;;
  tidy) packages=("${tidy_packages[@]}") ;;
  *)
    echo "bootstrap: goal = '${1:-}', supported: run, test, aarch64, tidy." >&2
    exit 2
    ;;
esac

if [[ ${SEESAW_SKIP_BOOTSTRAP:-0} == 1 ]]; then
  exit 0
fi
if ! command -v dpkg-query >/dev/null; then
  echo "bootstrap: this system has no dpkg; only Debian packages can be installed." >&2
  echo "Install what these Debian packages hold, then set SEESAW_SKIP_BOOTSTRAP=1:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  if [[ $status != installed ]]; then
    missing+=("$package")
  fi
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

if ((EUID != 0)); then
  echo "bootstrap: ${#missing[@]} packages are missing and only root can install them. Run:" >&2
  echo "  sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

echo "bootstrap: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt_get=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
"${apt_get[@]}" update
"${apt_get[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
