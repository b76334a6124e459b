// [5] Queries' rotary columns, turned in place: a thread a few neighbouring pairs of a head.
#pragma once

#include "ops/append/gpu/tokens.cuh"

namespace seesaw::append::gpu {

// `warp` counts those of the blocks that turn queries.
template <Access kAccess, typename T>
__device__ void turn_queries(const AppendParams& p, int64_t warp, int lane) {
  constexpr int kPairs = pairs_at_once(kAccess);
  const QueryParams& queries = p.queries;
  const int64_t token = warp / queries.warps_per_token;
  if (token >= p.tokens) {
    return;
  }
  const int32_t units = p.rotary.d_rope / 2 / kPairs;  // of a head
  const auto part = static_cast<int32_t>(warp - token * queries.warps_per_token);
  const int32_t item = part * 32 + lane;
  const int32_t head = item / units;
  if (head >= queries.h_q) {
    return;
  }
  const int32_t pair = (item - head * units) * kPairs;
  const bool interleaved = p.rotary.rotary == SEESAW_ROTARY_INTERLEAVED;
  T* const row =
      static_cast<T*>(queries.q) + token * queries.token_stride + head * queries.head_stride;
  // Two runs of kPairs columns: neighbours, or a column of each half.
  T* const first = row + (interleaved ? 2 * pair : pair);
  T* const second = interleaved ? first + kPairs : first + p.rotary.d_rope / 2;
  T elements[2 * kPairs];
  load<kAccess, kPairs>(first, elements);
  load<kAccess, kPairs>(second, elements + kPairs);
  const Angles angles = angles_of(p.rotary, token);
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    T& x = interleaved ? elements[2 * i] : elements[i];
    T& y = interleaved ? elements[2 * i + 1] : elements[kPairs + i];
    const Pair turned = angles.turned({float_from(x), float_from(y)}, pair + i);
    x = rounded<T>(turned.x);
    y = rounded<T>(turned.y);
  }
  store<kAccess, kPairs>(elements, first);
  store<kAccess, kPairs>(elements + kPairs, second);
}

}  // namespace seesaw::append::gpu
