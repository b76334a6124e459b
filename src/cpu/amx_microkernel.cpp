// The microkernel of AMX: bfloat16 tiles, and AVX-512 between them. A target region, as in
// bf16_dot_microkernel.cpp.
#include "cpu/microkernel.hpp"

#if defined(__x86_64__)
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/math.hpp"
#include "cpu/dequantize.hpp"
#include "cpu/exp2.hpp"

#if defined(__clang__)
#pragma clang attribute push(                                                        \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16")
#endif
#include "cpu/tile_microkernel.hpp"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace seesaw::cpu {

const Microkernel* amx_microkernel() {
  static const Microkernel kernel = tile_microkernel<AmxTiles>(
      "amx (bf16 tiles)", float_microkernel(Target::kAvx512), record_packers(Target::kAvx512));
  return &kernel;
}

}  // namespace seesaw::cpu

#else

namespace seesaw::cpu {
const Microkernel* amx_microkernel() { return nullptr; }
}  // namespace seesaw::cpu

#endif
