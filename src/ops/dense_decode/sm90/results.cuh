// What the end of a piece writes: a finished sequence is normalised and written out, a part of one
// goes to the workspace as it is.
#pragma once

#include "gpu/sm90/output.cuh"
#include "ops/dense_decode/sm90/mask.cuh"

namespace seesaw::dense_decode::sm90 {

// A piece's final row statistics, for the thread's two rows.
struct RowTotals {
  float sum[2];
  float frame[2];
};

template <typename Results>
struct RowAnew;

// A consumer thread's results of a piece: its two rows of one half of the output. `Stats` knows
// totals(), of the thread's rows, sum(row) of any row of the tile, and kLeftWritten and
// kRightWritten, barriers which the warpgroups have for themselves.
template <typename ConfigType, typename Stats>
struct PieceResults {
  using Config = ConfigType;

  const DenseDecodeParams& params;
  const PieceInfo& piece;
  Stats stats;
  const BlockWork& work;
  ConsumerThread thread;
  Side side;

  // `not_finite`: scrubbing the piece's tiles has changed values.
  __device__ __forceinline__ void write(const ConsumerState& state, bool not_finite) const {
    write_totals(state);
    const RowTotals totals = stats.totals();
    const bool anew[2] = {beyond_frames(totals, 0), beyond_frames(totals, 1)};
    if (__builtin_expect(__any_sync(~0u, anew[0] || anew[1]), 0)) compute_rows_anew(anew);
    if (__builtin_expect(not_finite, 0)) restore_infinities();
  }

  __device__ __forceinline__ void write_totals(const ConsumerState& state) const {
    RowTotals totals = stats.totals();
    if (__builtin_expect(piece.stale, 0)) totals.sum[0] = totals.sum[1] = NAN;
    if (piece.partial < 0) {
      write_out(piece.sequence, state, totals);
      if (side == Side::kLeft) write_lse(piece.sequence, totals);
    } else {
      write_partial(piece.partial, state, totals);
    }
  }

  // Whether the tensor cores' result of row r of the thread is none: a frame beyond kLargestFrame,
  // or on the way to the last one a frame that was, whose probabilities were infinite.
  static __device__ __forceinline__ bool beyond_frames(const RowTotals& totals, int r) {
    const bool large =
        fabsf(totals.frame[r]) > gpu::kLargestFrame && totals.frame[r] != gpu::kEmptyFrame;
    return large || !(totals.sum[r] < INFINITY);
  }

  // Rows of the warp that `anew` asks for, whose results are written already.
  __device__ __forceinline__ void compute_rows_anew(const bool (&anew)[2]) const {
    if (piece.stale) return;
    const uint32_t asked[2] = {__ballot_sync(~0u, anew[0]), __ballot_sync(~0u, anew[1])};
#pragma unroll 1
    for (int i = 0; i < kWarpRows; ++i) {
      const uint32_t row_asked = (i < 8 ? asked[0] >> (4 * i) : asked[1] >> (4 * (i - 8))) & 1u;
      if (row_asked != 0) RowAnew<PieceResults>(*this, thread.warp * kWarpRows + i).run();
    }
  }

  // The thread's row r, 0 or 1: packed, of all query rows of the KV head.
  __device__ __forceinline__ int32_t packed_row(int r) const {
    return piece.row_tile * kTileRows + thread.row() + 8 * r;
  }
  // The same, of the rows of its row group: a slot of partials holds these.
  __device__ __forceinline__ int32_t row_of_group(int r) const {
    return work.tile_of_group * kTileRows + thread.row() + 8 * r;
  }

  // Where a row lies among query tokens and heads.
  struct Place {
    int32_t token;
    int32_t head;
  };
  __device__ __forceinline__ Place place_of(int32_t packed) const {
    const int32_t token = params.group.divide(packed);
    const auto group = static_cast<int32_t>(params.group.value);
    return {token, work.kv_head * group + params.group.remainder(packed, token)};
  }

  // A row of out.
  __device__ __forceinline__ uint16_t* out_row(int32_t sequence, int32_t packed) const {
    const Place place = place_of(packed);
    return static_cast<uint16_t*>(params.out) + sequence * params.out_stride_batch +
           place.token * params.out_stride_token + place.head * params.out_stride_head;
  }

  // out = O / sum for the rows of the thread, one half of the columns.
  __device__ __forceinline__ void write_out(int32_t sequence, const ConsumerState& state,
                                            const RowTotals& totals) const {
    using Element = typename Config::Element;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float inverse = 1.0F / totals.sum[r];
      // A row with nothing to attend is 0, also where infinite values have met scores of -inf.
      const uint32_t kept = totals.sum[r] == 0.0F ? 0u : ~0u;
      const bool valid = packed_row(r) < params.rows;
      uint16_t* out = out_row(sequence, packed_row(r)) + static_cast<int>(side) * kHalfColumns;
      write_half_row<Element>(state, r, thread.lane, inverse, kept, out, valid, params.out_aligned);
    }
  }

  // LSE of the thread's two rows; warpgroup left writes it, one lane of each four.
  __device__ __forceinline__ void write_lse(int32_t sequence, const RowTotals& totals) const {
    if (thread.lane % 4 != 0) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      write_lse_of(sequence, packed_row(r), totals.frame[r], totals.sum[r]);
    }
  }
  __device__ __forceinline__ void write_lse_of(int32_t sequence, int32_t packed, float frame,
                                               float sum) const {
    if (params.lse == nullptr || packed >= params.rows) return;
    const Place place = place_of(packed);
    const float lse = (frame + log2f(sum)) * params.lse_factor;
    params.lse[sequence * params.lse_stride_batch + place.head * params.lse_stride_head +
               place.token * params.lse_stride_token] = sum == 0.0F ? params.empty_lse : lse;
  }

  // What scrub_values has kept from the products: a column in which a row sees an infinite value is
  // NaN, as it is where the product itself meets it, with a probability of 0 or with any other. The
  // thread looks at two columns of every token that only some rows see, and writes over the results
  // of all rows.
  __device__ __forceinline__ void restore_infinities() const {
    if (side == Side::kLeft) {  // the warpgroup's own results are written
      ptx::barrier_sync(Stats::kLeftWritten, kWarpgroupThreads);
    } else {
      ptx::barrier_sync(Stats::kRightWritten, kWarpgroupThreads);
    }
    const int32_t least = visible_tokens(params, piece.row_tile * kTileRows, piece.seq_len);
    const int32_t end = min(piece.seq_len, piece.token_begin + piece.num_tiles * kTileTokens);
    const int column = static_cast<int>(side) * kHalfColumns +
                       2 * (static_cast<int>(threadIdx.x) % kWarpgroupThreads);
#pragma unroll 1
    for (int32_t token = max(least, piece.token_begin); token < end; ++token) {
      const auto pair =
          *reinterpret_cast<const uint32_t*>(cache_row(piece.sequence, token) + column);
#pragma unroll 1
      for (int e = 0; e < 2; ++e) {
        const uint32_t bits = e == 0 ? pair : pair >> 16;
        if ((bits & 0x7FFFu) != (kExponentBits<typename Config::Element> & 0x7FFFu)) continue;
#pragma unroll 1
        for (int row = 0; row < kTileRows; ++row) make_nan(row, token, column + e);
      }
    }
  }

  // A token's row in the cache.
  __device__ __forceinline__ const uint16_t* cache_row(int32_t sequence, int32_t token) const {
    const int32_t tile = token / kTileTokens;
    const int32_t entry = params.tiles_per_page.divide(tile);
    const int64_t page = params.block_table[sequence * params.block_table_stride + entry];
    const int32_t token_of_page =
        params.tiles_per_page.remainder(tile, entry) * kTileTokens + token % kTileTokens;
    return static_cast<const uint16_t*>(params.kv) + page * params.kv_stride_page +
           token_of_page * params.kv_stride_token + work.kv_head * params.kv_stride_head;
  }

  // The result of a row of the tile in one column becomes NaN, if the row sees the token.
  __device__ __forceinline__ void make_nan(int row, int32_t token, int column) const {
    const int32_t packed = piece.row_tile * kTileRows + row;
    if (packed >= params.rows || visible_tokens(params, packed, piece.seq_len) <= token) return;
    if (piece.partial < 0) {
      if (stats.sum(row) != 0.0F) out_row(piece.sequence, packed)[column] = kNaNBits;
    } else {
      const int64_t index = params.partials.row_index(piece.partial, work.kv_head,
                                                      work.tile_of_group * kTileRows + row);
      auto* out = reinterpret_cast<uint16_t*>(params.partial_out +
                                              index * gpu::partial_units(kValueColumns));
      out[gpu::partial_place(column)] = kNaNBits;
    }
  }

  // A split's part, scaled to 16 bits and in the order of the accumulator: gpu/partials.hpp.
  __device__ __forceinline__ void write_partial(int32_t partial, const ConsumerState& state,
                                                const RowTotals& totals) const {
    const int half = static_cast<int>(side);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const gpu::PartialScale bits = gpu::partial_scale(__float_as_uint(largest_of_row(state, r)));
      const float scale = __uint_as_float(bits.scale_bits);
      if (row_of_group(r) >= params.partials.rows_per_head) continue;
      const int64_t index = params.partials.row_index(partial, work.kv_head, row_of_group(r));
      write_half_partial(
          state, r, thread.lane, scale,
          params.partial_out + index * gpu::partial_units(kValueColumns) + half * kHalfUnits);
      if (thread.lane % 4 != 0) continue;
      params.partial_stat[index * kHalves + half] = {.frame = totals.frame[r],
                                                     .sum = totals.sum[r],
                                                     .unscale = __uint_as_float(bits.unscale_bits),
                                                     .top = 0.0F};
    }
  }
};

// One row of a piece by one warp, from the cache, token by token: where scores are so large that
// the frames of the tensor cores' tiles fail (scores beyond 2^30, in powers of two). Slow, and
// right: a score's product with the scale is rounded before the frame, one of these products, is
// subtracted. A warpgroup does its half of the columns, and both do the scores.
template <typename Results>
struct RowAnew {
  using Config = typename Results::Config;
  using Element = typename Config::Element;
  static constexpr int kColumns = kHalfColumns / 32;  // of a lane

  const Results& results;
  int row;  // of the tile

  float top = -INFINITY;  // largest product so far
  float sum = 0.0F;       // of 2^(product - top)
  float out[kColumns] = {};

  __device__ __forceinline__ RowAnew(const Results& of_piece, int tile_row)
      : results(of_piece), row(tile_row) {}

  __device__ __forceinline__ const PieceInfo& piece() const { return results.piece; }
  __device__ __forceinline__ int lane() const { return results.thread.lane; }
  __device__ __forceinline__ int column(int i) const {
    return static_cast<int>(results.side) * kHalfColumns + lane() + 32 * i;
  }
  static __device__ __forceinline__ float number(uint16_t bits) {
    return ptx::unpack<Element>(bits).x;
  }

  __device__ __forceinline__ void run() {
    const DenseDecodeParams& params = results.params;
    const int32_t packed = piece().row_tile * kTileRows + row;
    if (packed >= params.rows) return;
    const auto place = results.place_of(packed);
    const auto row_of = [&](const QueryPart& part) {
      return static_cast<const uint16_t*>(part.data) + piece().sequence * part.stride_batch +
             place.token * part.stride_token + place.head * part.stride_head;
    };
    const uint16_t* const query[2] = {row_of(params.q[0]), row_of(params.q[1])};
    const int32_t end = min(visible_tokens(params, packed, piece().seq_len),
                            piece().token_begin + piece().num_tiles * kTileTokens);
#pragma unroll 1
    for (int32_t token = piece().token_begin; token < end; ++token) attend(query, token);
    __syncwarp();  // other lanes have written what is written over
    if (piece().partial < 0) {
      write_out(packed);
    } else {
      write_partial();
    }
  }

  __device__ __forceinline__ void attend(const uint16_t* const (&query)[2], int32_t token) {
    const DenseDecodeParams& params = results.params;
    const uint16_t* key = results.cache_row(piece().sequence, token);
    float score = 0.0F;
#pragma unroll 1
    for (int c = lane(); c < Config::kQkColumns; c += 32) {
      const uint16_t bits = c < kValueColumns ? query[0][c] : query[1][c - kValueColumns];
      score = fmaf(number(bits) * params.q_factor, number(key[c]), score);
    }
#pragma unroll 1
    for (int step = 16; step > 0; step /= 2) score += __shfl_xor_sync(~0u, score, step);
    const float product = __fmul_rn(score, params.scale_log2);
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
    for (int i = 0; i < kColumns; ++i) out[i] = fmaf(weight, number(key[column(i)]), out[i]);
  }

  __device__ __forceinline__ void write_out(int32_t packed) const {
    uint16_t* to = results.out_row(piece().sequence, packed);
    const float factor = 1.0F / sum;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const float value = sum == 0.0F ? 0.0F : out[i] * factor;
      to[column(i)] = static_cast<uint16_t>(ptx::pack<Element>(value, 0.0F));
    }
    if (results.side == Side::kLeft && lane() == 0) {
      results.write_lse_of(piece().sequence, packed, top, sum);
    }
  }

  __device__ __forceinline__ void write_partial() const {
    const DenseDecodeParams& params = results.params;
    const int32_t row_of_group = results.work.tile_of_group * kTileRows + row;
    if (row_of_group >= params.partials.rows_per_head) return;
    float largest = 0.0F;
#pragma unroll
    for (const float value : out) largest = fmaxf(largest, fabsf(value));
#pragma unroll 1
    for (int step = 16; step > 0; step /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, step));
    }
    const gpu::PartialScale bits = gpu::partial_scale(__float_as_uint(largest));
    const int64_t index =
        params.partials.row_index(piece().partial, results.work.kv_head, row_of_group);
    auto* to =
        reinterpret_cast<uint16_t*>(params.partial_out + index * gpu::partial_units(kValueColumns));
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const float value = out[i] * __uint_as_float(bits.scale_bits);
      to[gpu::partial_place(column(i))] = static_cast<uint16_t>(ptx::pack<__half>(value, 0.0F));
    }
    if (lane() != 0) return;
    params.partial_stat[index * kHalves + static_cast<int>(results.side)] = {
        .frame = top == -INFINITY ? gpu::kEmptyFrame : top,
        .sum = sum,
        .unscale = __uint_as_float(bits.unscale_bits),
        .top = 0.0F};
  }
};

}  // namespace seesaw::dense_decode::sm90
