// Products of a consumer warpgroup, and what lies between them: fragments, P, the tail of a tile.
#pragma once

#include "gpu/online_softmax.cuh"
#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/matrix.cuh"
#include "gpu/ptx/mbarrier.cuh"
#include "gpu/ptx/registers.cuh"
#include "gpu/ptx/shared_memory.cuh"
#include "gpu/ptx/wgmma.cuh"
#include "gpu/sm90/facts.cuh"

namespace seesaw::gpu::sm90 {

// Which half of the output a consumer warpgroup owns, and so which KV buffer it scores.
enum class Side : int { kLeft = 0, kRight = 1 };

// A consumer thread's registers, kept from tile to tile.
struct ConsumerState {
  float o[128];           // its rows of a 64 x 256 half of the output, not normalised
  float s[32];            // scores, then probabilities, of its rows of the tile it scores
  uint32_t p[16];         // probabilities in 16 bits: A fragments
  uint32_t q_rotary[16];  // box 8 of Q as A fragments (Config::kRotaryInRegisters)
  float sum0, sum1;       // this thread's part of the sums of probabilities of its two rows
};

// A consumer thread's place.
struct ConsumerThread {
  int warp;  // of the warpgroup
  int lane;
  __device__ int row() const { return warp * 16 + lane / 4; }  // and row() + 8
  // The same place, for code that runs once a piece: its addresses are computed there instead of
  // being kept in registers, which the main loop has none to spare of.
  __device__ ConsumerThread apart() const { return {ptx::opaque(warp), ptx::opaque(lane)}; }
};

// Address of this lane's row for ldmatrix/stmatrix.x4 of the 16 x 16 A fragment of k step `step`.
__device__ __forceinline__ uint32_t fragment_address(uint32_t box, const ConsumerThread& thread,
                                                     int step) {
  const int row = thread.warp * 16 + (thread.lane & 15);
  const int chunk = step * 2 + (thread.lane >> 4);
  return box + row * 128 + ((chunk ^ (row & 7)) << 4);
}

__device__ __forceinline__ void store_p(uint32_t box, const ConsumerThread& thread,
                                        const uint32_t (&p)[16]) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    ptx::store_matrix(fragment_address(box, thread, step), p + 4 * step);
  }
}

// `box`: the rotary columns of Q.
template <typename Config>
__device__ __forceinline__ void keep_rotary_box(ConsumerState& state, uint32_t box,
                                                const ConsumerThread& thread) {
  if constexpr (Config::kRotaryInRegisters) {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      ptx::load_matrix(state.q_rotary + 4 * step, fragment_address(box, thread, step));
    }
  }
}

// Low descriptor words of one loop iteration, hidden from the compiler's hoisting.
struct Descriptors {
  uint32_t q;   // box 0 of Q, K-major
  uint32_t kv;  // box 0 of the warpgroup's own KV buffer, K-major
};
inline constexpr uint32_t kBoxStep = sizeof(Box) >> 4;  // from a box to the next, in descriptors

// Issues S (+)= Q K^T over the boxes [box_begin, box_end), the first overwriting S if `first`. One
// commit group.
template <typename Config, int kBoxBegin, int kBoxEnd>
__device__ __forceinline__ void issue_scores(ConsumerState& state, const Descriptors& at,
                                             bool first) {
  using Mma = ptx::Wgmma<typename Config::Element, 64>;
  ptx::wgmma_fence();
#pragma unroll
  for (int box = kBoxBegin; box < kBoxEnd; ++box) {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      const uint32_t kv = at.kv + box * kBoxStep + step * ptx::kStepKMajor;
      const bool accumulate = !(first && box == kBoxBegin && step == 0);
      if (Config::kRotaryInRegisters && box == kValueBoxes) {
        Mma::rs(state.s, state.q_rotary + 4 * step, kv, accumulate);
      } else {
        Mma::ss(state.s, at.q + box * kBoxStep + step * ptx::kStepKMajor, kv, accumulate);
      }
    }
  }
  ptx::wgmma_commit();
}

template <typename Config>
inline constexpr uint32_t kPartStep = Config::kValueN / kBoxColumns* kBoxStep;  // in descriptors

// Part `part` of a thread's columns of O, as one instruction of Config::kValueN columns has them.
template <typename Config>
__device__ __forceinline__ float (&part_of_output(ConsumerState& state,
                                                  int part))[Config::kValueN / 2] {
  return reinterpret_cast<float(&)[Config::kValueN / 2]>(state.o[part * (Config::kValueN / 2)]);
}

// Issues O += P V with P in registers (the warpgroup's own tile) or in shared memory (the other's).
// `values`: MN-major descriptor of the half of the tile. One commit group.
template <typename Config>
__device__ __forceinline__ void issue_local_values(ConsumerState& state, uint32_t values) {
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < 4; ++step) {
#pragma unroll
    for (int part = 0; part < kHalfColumns / Config::kValueN; ++part) {
      ptx::Wgmma<typename Config::Element, Config::kValueN>::rs(
          part_of_output<Config>(state, part), state.p + 4 * step,
          values + part * kPartStep<Config> + step * ptx::kStepMnMajor, true);
    }
  }
  ptx::wgmma_commit();
}
template <typename Config>
__device__ __forceinline__ void issue_remote_values(ConsumerState& state, uint32_t p,
                                                    uint32_t values) {
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < 4; ++step) {
#pragma unroll
    for (int part = 0; part < kHalfColumns / Config::kValueN; ++part) {
      ptx::Wgmma<typename Config::Element, Config::kValueN>::ss(
          part_of_output<Config>(state, part), p + step * ptx::kStepKMajor,
          values + part * kPartStep<Config> + step * ptx::kStepMnMajor, true);
    }
  }
  ptx::wgmma_commit();
}

// Exponent bits of a pair of 16-bit elements: all ones in an element means NaN or infinity.
template <typename Element>
inline constexpr uint32_t kExponentBits = 0;
template <>
inline constexpr uint32_t kExponentBits<__nv_bfloat16> = 0x7F807F80u;
template <>
inline constexpr uint32_t kExponentBits<__half> = 0x7C007C00u;

// NaN and infinite elements of a pair become 0.
template <typename Element>
__device__ __forceinline__ uint32_t finite_or_zero(uint32_t pair) {
  const uint32_t clear = ~pair & kExponentBits<Element>;  // exponent bits that are 0
  const uint32_t low = clear & 0xFFFFu ? 0x0000FFFFu : 0u;
  const uint32_t high = clear & 0xFFFF0000u ? 0xFFFF0000u : 0u;
  return pair & (low | high);
}

// Makes kBoxes boxes of a tile's values safe to multiply with zero probabilities, which NaN would
// survive. Tokens from `end` on become zeros. Tokens from `first` on, which only some rows see,
// lose their NaN and infinite elements. Of the rows that do see them, most have met these in the
// score (K and V are one latent vector), so their probability is NaN already; but a score of -inf
// has probability 0, and 0 x infinity is missed: what comes back true when the end of the piece has
// to make up for it. Called by one warpgroup when the tile's scores are done; the answer is this
// thread's.
template <typename Config, int kBoxes>
__device__ __forceinline__ bool scrub_boxes(uint32_t boxes, int first, int end) {
  constexpr int kChunks = kBoxColumns * 2 / 16;
  const int thread = static_cast<int>(ptx::opaque(threadIdx.x)) % kWarpgroupThreads;
  const int chunk = thread % (kBoxes * kChunks);
  const uint32_t column = boxes + (chunk / kChunks) * sizeof(Box) + (chunk % kChunks) * 16;
  constexpr int kStep = kWarpgroupThreads / (kBoxes * kChunks);
  uint32_t changed = 0;
#pragma unroll 1
  for (int token = first + thread / (kBoxes * kChunks); token < kTileTokens; token += kStep) {
    const uint32_t address = column + token * (kBoxColumns * 2);
    uint4 v = make_uint4(0, 0, 0, 0);
    if (token < end) {
      const uint4 was = ptx::load_shared_16(address);
      v.x = finite_or_zero<typename Config::Element>(was.x);
      v.y = finite_or_zero<typename Config::Element>(was.y);
      v.z = finite_or_zero<typename Config::Element>(was.z);
      v.w = finite_or_zero<typename Config::Element>(was.w);
      changed |= (v.x ^ was.x) | (v.y ^ was.y) | (v.z ^ was.z) | (v.w ^ was.w);
    }
    ptx::store_shared_16(address, v);
  }
  ptx::fence_async_proxy();
  return changed != 0;
}

// The same of all values of the tile that the calling warpgroup scored.
template <typename Config>
__device__ __forceinline__ bool scrub_values(uint32_t tile, int first, int end,
                                             NamedBarrier barrier) {
  ptx::barrier_sync(barrier, kWarpgroupThreads);  // every warp's scores of the tile are done
  const bool changed = scrub_boxes<Config, kValueBoxes>(tile, first, end);
  ptx::barrier_sync(barrier, kWarpgroupThreads);  // every thread has written
  return changed;
}

}  // namespace seesaw::gpu::sm90
