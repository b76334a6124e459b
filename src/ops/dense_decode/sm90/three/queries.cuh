// The queries of a piece: to the score warpgroup's registers, and what of them has no room there to
// shared memory. TMA brings them through the ring of KV tiles; rows that are no boxes of heads and
// tokens, or take a factor, come from memory element by element.
#pragma once

#include "gpu/sm90/products.cuh"
#include "ops/dense_decode/sm90/three/smem.cuh"

namespace seesaw::dense_decode::sm90::three {

inline constexpr int kStepColumns = 16;
inline constexpr int kStepWords = 4;  // of a thread: the A fragment of a k step

// Q as A fragments: words 4 s + i of step s.
struct QueryFragments {
  uint32_t word[kQuerySteps * kStepWords];
};

// Loads any rows: what one thread has of a piece's queries, rows lane / 4 and lane / 4 + 8 of its
// warp's 16.
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

  __device__ __forceinline__ uint32_t pair(const uint16_t* row, int column) const {
    if (row == nullptr) return 0;
    const uint32_t both = row[column] | static_cast<uint32_t>(row[column + 1]) << 16;
    const float2 numbers = ptx::unpack<Element>(both);
    return ptx::pack<Element>(numbers.x * params.q_factor, numbers.y * params.q_factor);
  }

  // Any rows, times q_factor. A box at a time, into the last words; the others move up. So
  // registers are never indexed by a variable, and the code is that of one box.
  __device__ __forceinline__ void load(QueryFragments& q) const {
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

  // Eight columns of row r of the thread in the rotary box.
  __device__ __forceinline__ uint32_t rotary_chunk(int r, int chunk_of_row) const {
    const int place = thread.row() + 8 * r;
    return shared.q_rotary() + place * (kBoxColumns * 2) + ((chunk_of_row ^ (place & 7)) << 4);
  }
};

// Queries that TMA has brought to a stage of the ring.
__device__ __forceinline__ void load_queries(QueryFragments& q, uint32_t boxes,
                                             const ConsumerThread& thread) {
#pragma unroll
  for (int step = 0; step < kQuerySteps; ++step) {
    ptx::load_matrix(q.word + step * kStepWords,
                     fragment_address(boxes, thread, step % kStepsOfBox) +
                         step / kStepsOfBox * static_cast<uint32_t>(sizeof(Box)));
  }
}

// The k step that has no room in registers, to shared memory.
__device__ __forceinline__ void store_last(const SharedAddresses& shared, const QueryFragments& q,
                                           const ConsumerThread& thread) {
  const uint32_t first = shared.q_last() + thread.warp * 512 + thread.lane * 4;
#pragma unroll
  for (int i = 0; i < kStepWords; ++i) {
    ptx::store_shared_4(first + i % 2 * 256 + i / 2 * 128, q.word[kRegisterSteps * kStepWords + i]);
  }
}

}  // namespace seesaw::dense_decode::sm90::three
