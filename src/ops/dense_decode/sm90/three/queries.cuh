// The queries of a piece: from memory straight to the score warpgroup's registers, and what of them
// has no room there to shared memory.
#pragma once

#include "gpu/quad.cuh"
#include "gpu/sm90/products.cuh"
#include "ops/dense_decode/sm90/three/smem.cuh"

namespace seesaw::dense_decode::sm90::three {

inline constexpr int kStepColumns = 16;
inline constexpr int kStepWords = 4;  // of a thread: the A fragment of a k step

// Q as A fragments: words 4 s + i of step s.
struct QueryFragments {
  uint32_t word[kQuerySteps * kStepWords];
};

// Loads what one thread has of a piece's queries: rows lane / 4 and lane / 4 + 8 of its warp's 16.
template <typename Config>
struct QueryLoader {
  using Element = typename Config::Element;

  const DenseDecodeParams& params;
  const SharedAddresses& shared;
  int32_t kv_head;
  ConsumerThread thread;
  const uint16_t* values[2];  // columns of its two rows; null: a row past the last, zeros
  const uint16_t* rotary[2];

  __device__ __forceinline__ QueryLoader(const DenseDecodeParams& params_of_launch,
                                         const SharedAddresses& addresses, int32_t head,
                                         ConsumerThread place, int32_t sequence, int32_t row_tile)
      : params(params_of_launch), shared(addresses), kv_head(head), thread(place) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int32_t packed = row_tile * kTileRows + thread.row() + 8 * r;
      values[r] = find_row(params.q[0], sequence, packed);
      rotary[r] = Config::kHasRotaryBox ? find_row(params.q[1], sequence, packed) : nullptr;
    }
  }

  __device__ __forceinline__ const uint16_t* find_row(const QueryPart& part, int32_t sequence,
                                                      int32_t packed) const {
    if (packed >= params.rows) return nullptr;
    const int32_t token = params.group.divide(packed);
    const int32_t head =
        kv_head * static_cast<int32_t>(params.group.value) + params.group.remainder(packed, token);
    return static_cast<const uint16_t*>(part.data) + sequence * part.stride_batch +
           token * part.stride_token + head * part.stride_head;
  }

  __device__ __forceinline__ void load(QueryFragments& q) const {
    if (params.q_aligned && params.q_factor == 1.0F) {
      load_aligned(q);
    } else {
      load_any(q);
    }
    store_last(q);
  }

  // ---- rows that start on 16 bytes, as they are

  static __device__ __forceinline__ uint4 chunk(const uint16_t* row, int column) {
    return row == nullptr ? make_uint4(0, 0, 0, 0) : *reinterpret_cast<const uint4*>(row + column);
  }

  // 32 columns at a time: lane q of the four that share a row loads eight of them, 16 bytes, and
  // the four exchange pairs.
  __device__ __forceinline__ void load_aligned(QueryFragments& q) const {
    const int column = thread.lane % 4 * 8;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int two = 0; two < kQuerySteps / 2; ++two) {
        const uint4 v = chunk(values[r], two * 2 * kStepColumns + column);
        uint32_t* words = q.word + two * 2 * kStepWords + r;
        words[0] = v.x;
        words[2] = v.y;
        words[4] = v.z;
        words[6] = v.w;
      }
    }
    if constexpr (Config::kHasRotaryBox) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
#pragma unroll
        for (int c = thread.lane % 4; c < kBoxColumns / 8; c += 4) {
          ptx::store_shared_16(rotary_chunk(r, c), chunk(rotary[r], c * 8));
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int two = 0; two < kQuerySteps / 2; ++two) {
        uint32_t* words = q.word + two * 2 * kStepWords + r;
        uint32_t v[4] = {words[0], words[2], words[4], words[6]};
        gpu::transpose_quad(v, thread.lane);
        words[0] = v[0];
        words[2] = v[1];
        words[4] = v[2];
        words[6] = v[3];
      }
    }
  }

  // ---- any rows, times q_factor

  __device__ __forceinline__ uint32_t pair(const uint16_t* row, int column) const {
    if (row == nullptr) return 0;
    const uint32_t both = row[column] | static_cast<uint32_t>(row[column + 1]) << 16;
    const float2 numbers = ptx::unpack<Element>(both);
    return ptx::pack<Element>(numbers.x * params.q_factor, numbers.y * params.q_factor);
  }

  // A box at a time, into the last words; the others move up. So registers are never indexed by a
  // variable, and the code is that of one box.
  __device__ __forceinline__ void load_any(QueryFragments& q) const {
    constexpr int kBoxWords = kStepsOfBox * kStepWords;
    constexpr int kOthers = kQuerySteps * kStepWords - kBoxWords;
    const int first = thread.lane % 4 * 2;
    q = {};
#pragma unroll 1
    for (int box = 0; box < kValueBoxes; ++box) {
#pragma unroll
      for (int i = 0; i < kOthers; ++i) q.word[i] = q.word[i + kBoxWords];
#pragma unroll
      for (int i = 0; i < kBoxWords; ++i) {
        const int column = box * kBoxColumns + i / kStepWords * kStepColumns + i % 4 / 2 * 8;
        q.word[kOthers + i] = pair(values[i % 2], column + first);
      }
    }
    if constexpr (Config::kHasRotaryBox) {
#pragma unroll 1
      for (int i = 0; i < 2 * kBoxColumns / 8; ++i) {
        const int r = i % 2;
        const uint32_t word = rotary_chunk(r, i / 2) + first * sizeof(uint16_t);
        ptx::store_shared_4(
            word, r == 0 ? pair(rotary[0], i / 2 * 8 + first) : pair(rotary[1], i / 2 * 8 + first));
      }
    }
  }

  // ---- shared memory

  // Eight columns of row r of the thread in the rotary box.
  __device__ __forceinline__ uint32_t rotary_chunk(int r, int chunk_of_row) const {
    const int place = thread.row() + 8 * r;
    return shared.q_rotary() + place * (kBoxColumns * 2) + ((chunk_of_row ^ (place & 7)) << 4);
  }

  __device__ __forceinline__ void store_last(const QueryFragments& q) const {
    const uint32_t first = shared.q_last() + thread.warp * 512 + thread.lane * 4;
#pragma unroll
    for (int i = 0; i < kStepWords; ++i) {
      ptx::store_shared_4(first + i % 2 * 256 + i / 2 * 128,
                          q.word[kRegisterSteps * kStepWords + i]);
    }
  }
};

}  // namespace seesaw::dense_decode::sm90::three
