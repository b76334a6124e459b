// [2] The query rows of a piece become fragments of A: straight from global memory, or, where
// strides, columns or a factor make them no plain words, a block of columns after the other through
// shared memory.
#pragma once

#include "attention/device/work.cuh"
#include "attention/sm80/products.cuh"

namespace seesaw::attention::sm80 {

template <typename Config>
struct QueryLoader {
  static constexpr int kBlockColumns = kTileTokens;  // of a row of P, which they pass through

  const Params& params;
  const Shared<Config>& shared;
  const PieceWork& piece;
  ThreadPlace<Config> at = {};

  __device__ __forceinline__ QueryRow row(int r) const {  // of the tile
    return query_row(params, piece.item, piece.row_tile * Config::kTileRows + r);
  }

  // Ends with a barrier.
  __device__ __forceinline__ void load(Queries<Config>& queries) const {
    for (int r = static_cast<int>(threadIdx.x); r < Config::kTileRows; r += Config::kThreads) {
      shared.rest.row_top[r] = -INFINITY;
    }
    if (params.d_qk > Config::kValueColumns) {
      copy<kRotaryColumns>(Config::kValueColumns, [&](int r, int chunk) {
        return shared.rotary + rotary_offset(r, chunk);
      });
    }
    if (params.q_plain) {
      load_plain(queries);
    } else {
      load_by_blocks(queries);
    }
    __syncthreads();
  }

  // Rows that start on 4 bytes, with kValueColumns in q.
  __device__ __forceinline__ void load_plain(Queries<Config>& queries) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const uint16_t* from = row(at.row(r)).first;
      const bool exists = from != nullptr;
      const auto* words = reinterpret_cast<const uint32_t*>(
                              exists ? from : static_cast<const uint16_t*>(params.q)) +
                          at.quad_lane();
#pragma unroll
      for (int step = 0; step < Config::kValueSteps; ++step) {
        queries.fragment[step][r] = exists ? words[8 * step] : 0;
        queries.fragment[step][r + 2] = exists ? words[8 * step + 4] : 0;
      }
    }
  }

  __device__ __forceinline__ void load_by_blocks(Queries<Config>& queries) const {
#pragma unroll
    for (int block = 0; block < Config::kValueColumns / kBlockColumns; ++block) {
      __syncthreads();  // the block before is read
      copy<kBlockColumns>(block * kBlockColumns, [&](int r, int chunk) {
        return shared.probabilities + probability_offset(r, chunk);
      });
      __syncthreads();
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const int from = at.row_warp() * kWarpRows + at.lane % 16;
        ptx::load_matrix(queries.fragment[2 * block + step],
                         shared.probabilities + probability_offset(from, 2 * step + at.lane / 16));
      }
    }
  }

  // Columns [first, first + kCount) of the tile's rows, times q_factor, zeros where there are none,
  // to the chunks at destination(row, chunk).
  template <int kCount, typename Destination>
  __device__ __forceinline__ void copy(int first, Destination destination) const {
    using Element = typename Config::Element;
    const auto number = [&](const QueryRow& from, int column) {
      const bool read = from.first != nullptr && column < params.d_qk;
      return read ? ptx::unpack<Element>(*from.at(params, column)).x * params.q_factor : 0.0F;
    };
    constexpr int kWords = kCount / 2;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < Config::kTileRows * kWords;
         i += Config::kThreads) {
      const int r = i / kWords;
      const int word = i % kWords;
      const int column = first + 2 * word;
      const QueryRow from = row(r);
      ptx::store_shared_4(destination(r, word / 4) + static_cast<uint32_t>(word % 4 * 4),
                          ptx::pack<Element>(number(from, column), number(from, column + 1)));
    }
  }
};

}  // namespace seesaw::attention::sm80
