// The query rows of a piece, which the consumers bring themselves behind the last scores of the
// piece before.
#pragma once

#include "attention/sm90/smem.cuh"
#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm90 {

// Of one consumer thread.
template <typename Config>
struct Queries {
  const Params& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;

  static constexpr uint32_t kBoxBytes = Config::kTileRows * kBoxColumns * 2;

  // Starts to bring the rows of the worker's piece k, and describes it: when nobody scores any
  // more.
  __device__ __forceinline__ void begin(int32_t k) const {
    const PieceWork piece = read_piece<Config>(params, storage.tiles.work, k);
    const int consumer = static_cast<int>(ptx::opaque(threadIdx.x));
    if (consumer == 0) {
      storage.pieces.piece[k % 2] = piece;
      if (piece.stale) *params.fault = gpu::Fault::kStaleSchedule;
    }
    const bool plain = params.q_unit == kChunkBytes && params.q_factor == 1.0F;
    const int chunk = consumer % kBoxChunks;
#pragma unroll 1
    for (int row = consumer / kBoxChunks; row < Config::kTileRows;
         row += kConsumerThreads / kBoxChunks) {
      const QueryRow query =
          query_row(params, piece.item, piece.row_tile * Config::kTileRows + row);
      const bool valid = query.first != nullptr;
      const uint16_t* none = static_cast<const uint16_t*>(params.q);
      uint32_t to =
          shared.q() + static_cast<uint32_t>(row * (kBoxColumns * 2) + ((chunk ^ (row & 7)) << 4));
#pragma unroll 1
      for (int column = chunk * (kChunkBytes / 2); column < Config::kQkColumns;
           column += kBoxColumns, to += kBoxBytes) {
        const uint16_t* from = valid ? query.at(params, column) : none;
        if (plain) {
          ptx::copy_async_16(to, from, valid);
        } else {
          copy_elements(to, from, valid);
        }
      }
    }
  }

  // Until they are there, and both warpgroups are at the piece.
  __device__ __forceinline__ void wait() const {
    ptx::copy_async_wait_all();
    ptx::fence_async_proxy();
    wait_for_fact(kQueriesReady);
  }

 private:
  // A chunk of any address, times the factor.
  __device__ __forceinline__ void copy_elements(uint32_t to, const uint16_t* from,
                                                bool valid) const {
    using Element = typename Config::Element;
#pragma unroll 1
    for (int i = 0; i < kChunkBytes / 4; ++i) {
      uint32_t pair = 0;
      if (valid) {
        const float2 values = {ptx::unpack<Element>(from[2 * i]).x,
                               ptx::unpack<Element>(from[2 * i + 1]).x};
        pair = ptx::pack<Element>(values.x * params.q_factor, values.y * params.q_factor);
      }
      ptx::store_shared_4(to + 4 * i, pair);
    }
  }
};

}  // namespace seesaw::attention::sm90
