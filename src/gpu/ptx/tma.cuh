// Copies by the Tensor Memory Accelerator. PTX ISA 9.0, sections "cp.async.bulk.tensor",
// "cp.async.bulk.prefetch.tensor", "prefetch, prefetchu", "createpolicy".
#pragma once

#include <cuda.h>

#include <cstdint>

namespace seesaw::ptx {

// Brings a tensor map into the cache.
__device__ __forceinline__ void prefetch_tensor_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// L2 policies, as createpolicy.fractional makes them at fraction 1.0.
inline constexpr uint64_t kEvictFirst = 0x12F0000000000000ull;   // read once
inline constexpr uint64_t kEvictNormal = 0x1000000000000000ull;  // the default

// Coordinates of a box in a rank-5 tensor map, innermost first.
struct BoxAt {
  int32_t c0, c1, c2, c3, c4;
};
// One box, completing on `barrier`.
template <uint64_t kCachePolicy>
__device__ __forceinline__ void copy_box(uint32_t destination, const CUtensorMap* map,
                                         uint32_t barrier, const BoxAt& at) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%2, %3, %4, %5, %6}], [%7], %8;" ::"r"(destination),
      "l"(map), "r"(at.c0), "r"(at.c1), "r"(at.c2), "r"(at.c3), "r"(at.c4), "r"(barrier),
      "l"(kCachePolicy)
      : "memory");
}
// Brings a box into L2, ahead of its copy.
template <uint64_t kCachePolicy>
__device__ __forceinline__ void prefetch_box(const CUtensorMap* map, const BoxAt& at) {
  asm volatile(
      "cp.async.bulk.prefetch.tensor.5d.L2.global.tile.L2::cache_hint"
      " [%0, {%1, %2, %3, %4, %5}], %6;" ::"l"(map),
      "r"(at.c0), "r"(at.c1), "r"(at.c2), "r"(at.c3), "r"(at.c4), "l"(kCachePolicy)
      : "memory");
}

}  // namespace seesaw::ptx
