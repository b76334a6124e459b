#!/bin/sh
# Builds and runs the consumers with nothing but a compiler and pkg-config.
# Usage: pkg_config.sh LIBDIR WORK_DIR CC CXX FLAGS
set -eu
libdir=$1 work=$2 cc=$3 cxx=$4 flags=$5
project=$(dirname "$0")/project
mkdir -p "$work"
export PKG_CONFIG_PATH="$libdir/pkgconfig"
cflags=$(pkg-config --cflags seesaw)
libs=$(pkg-config --libs seesaw)

# The flags are lists of words.
# shellcheck disable=SC2086
{
  "$cc" -std=c99 -Wall -Wextra -Wpedantic -Werror $flags $cflags "$project/c_consumer.c" \
    -o "$work/c_consumer" $libs -lm
  "$cxx" -std=c++20 -Wall -Wextra -Wpedantic -Werror $flags $cflags "$project/cpp_consumer.cpp" \
    -o "$work/cpp_consumer" $libs
}
for program in c_consumer cpp_consumer; do
  LD_LIBRARY_PATH="$libdir" "$work/$program"
done
