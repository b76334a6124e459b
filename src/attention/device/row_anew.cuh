// One row of a piece by one warp, from the cache, token by token: where scores are so large
// that the frames of the tensor cores' tiles fail (scores beyond 2^30, in powers of two), or where
// infinite values stand among tokens that only some rows see. Slow, and right: a score's product
// with the scale is rounded before the frame, one of these products, is subtracted.
#pragma once

#include "attention/device/record.cuh"
#include "attention/device/results.cuh"
#include "attention/device/sight.cuh"

namespace seesaw::attention::device {

// The columns of the values from kFirstColumn on, kNumColumns of them; every warp of a row computes
// its scores.
template <typename Config, int kNumColumns = Config::kValueColumns>
struct RowAnew {
  using Element = typename Config::Element;
  static constexpr int kColumns = kNumColumns / 32;  // of a lane

  const Params& params;
  const PieceWork& piece;
  int row;  // of the tile
  int first_column;

  float top = -INFINITY;  // largest product so far
  float sum = 0.0F;       // of 2^(product - top)
  float out[kColumns] = {};

  __device__ __forceinline__ RowAnew(const Params& params_of_launch,
                                     const PieceWork& piece_of_block, int tile_row,
                                     int first_column_of_warp = 0)
      : params(params_of_launch),
        piece(piece_of_block),
        row(tile_row),
        first_column(first_column_of_warp) {}

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ __forceinline__ int column(int i) const { return first_column + lane() + 32 * i; }
  __device__ __forceinline__ ResultPlaces<Config> places() const { return {params, piece}; }

  __device__ __forceinline__ void run() {
    if (!places().exists(row)) return;
    const QueryRow query = query_row(params, piece.item, places().packed(row));
    const int32_t query_token = params.group.divide(places().packed(row));
    const RowSight sight = sight_of<Config>(params, piece.item, query_token);
#pragma unroll 1
    for (int32_t tile = piece.tile_begin; tile < piece.tile_end; ++tile) {
      const TilePlace place = place_of_tile<Config>(piece.item, tile);
      const StreamParams& stream = params.streams[place.stream];
#pragma unroll 1
      for (int32_t i = 0; i < Config::kTileTokens && place.token + i < place.length; ++i) {
        const int32_t token = piece.item.origin + tile * Config::kTileTokens + i;
        if (token < sight.begin || token >= sight.end ||
            !tree_allows(params, piece.item, query_token, token)) {
          continue;
        }
        const Record record = record_of(stream, place.token + i,
                                        id_of(stream, ids_of(stream, piece.item), place.token + i));
        if (record.row != nullptr) attend(query, stream, record);
      }
    }
    if (piece.partial < 0) {
      write_out();
    } else {
      write_partial();
    }
  }

  __device__ __forceinline__ float product_of(const QueryRow& query, const StreamParams& stream,
                                              const Record& record) const {
    float score = 0.0F;
#pragma unroll 1
    for (int c = lane(); c < params.d_qk; c += 32) {
      score = fmaf(ptx::unpack<Element>(*query.at(params, c)).x * params.q_factor,
                   number_of<Config>(stream, record, c), score);
    }
#pragma unroll 1
    for (int step = 16; step > 0; step /= 2) score += __shfl_xor_sync(~0u, score, step);
    return params.cap_log2 > 0.0F ? capped(params, score) : __fmul_rn(score, params.scale_log2);
  }

  __device__ __forceinline__ void attend(const QueryRow& query, const StreamParams& stream,
                                         const Record& record) {
    const float product = product_of(query, stream, record);
    if (product > top) {
      const float factor = ptx::exp2_approx(top - product);
      sum *= factor;
#pragma unroll
      for (float& value : out) value *= factor;
      top = product;
    }
    const float weight = product == -INFINITY ? 0.0F : ptx::exp2_approx(product - top);
    sum += weight;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      if (column(i) < params.d_v) {
        out[i] = fmaf(weight, number_of<Config>(stream, record, column(i)), out[i]);
      }
    }
  }

  __device__ __forceinline__ void write_out() const {
    uint16_t* to = places().out_row(row);
    const float factor = 1.0F / places().sum_with_sink(row, top, sum);
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const float value = sum == 0.0F ? 0.0F : out[i] * factor;
      if (column(i) < params.d_v) {
        to[column(i)] = static_cast<uint16_t>(ptx::pack<Element>(value, 0.0F));
      }
    }
    if (lane() == 0 && first_column == 0) places().write_statistics(row, top, sum, top);
  }

  __device__ __forceinline__ void write_partial() const {
    if (!places().in_slot(row)) return;
    const int64_t index = places().slot_row(row);
    auto* to =
        reinterpret_cast<uint16_t*>(params.partial_out + index * gpu::partial_units(params.d_v));
    const int block_columns = gpu::partial_block_columns(params.d_v);
#pragma unroll 1
    for (int block = 0; block < gpu::partial_blocks(params.d_v); ++block) {
      if ((block + 1) * block_columns <= first_column) continue;
      if (block * block_columns >= first_column + kNumColumns) break;
      float largest = 0.0F;
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        if (column(i) / block_columns == block) largest = fmaxf(largest, fabsf(out[i]));
      }
#pragma unroll 1
      for (int step = 16; step > 0; step /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, step));
      }
      const gpu::PartialScale bits = gpu::partial_scale(__float_as_uint(largest));
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        if (column(i) / block_columns != block) continue;
        const float value = out[i] * __uint_as_float(bits.scale_bits);
        to[gpu::partial_place(column(i))] = static_cast<uint16_t>(ptx::pack<__half>(value, 0.0F));
      }
      if (lane() != 0) continue;
      params.partial_stat[index * gpu::partial_blocks(params.d_v) + block] = {
          .frame = top == -INFINITY ? gpu::kEmptyFrame : top,
          .sum = sum,
          .unscale = __uint_as_float(bits.unscale_bits),
          .top = top};
    }
  }
};

}  // namespace seesaw::attention::device
