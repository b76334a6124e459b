// Where the partial results of split sequences lie in the workspace: written by the attention
// kernels straight from their accumulator registers, read by the combine.
//
// A partial is what one piece of a split sequence found, per query row, in blocks of up to 256
// columns:
//   out   d_v numbers, NOT normalised: sum over the piece's tokens of 2^(score - frame) * value, as
//         fp16: each block is multiplied by a power of two that brings its largest magnitude to
//         2^14 .. 2^15 (partial_scale), and the inverse is kept in the statistics. So a number
//         keeps 11 bits unless it is 2^-29 of its block's largest: eight times what rounding the
//         probabilities to bf16 leaves, at half the bytes of float.
//   stat  of each block, {frame, sum, unscale, top}: scores are in base 2 (already times scale *
//   log2 e);
//         `frame` is the number that was subtracted from them, `sum` is sum of 2^(score - frame),
//         both the same for all blocks of a row; `unscale` takes the block back. The frame may lie
//         up to 8 below the true maximum: only ever use it together with `sum` and `out`.
// A row with nothing to attend in the piece has sum = 0, out = 0 and a finite frame far below any
// score (kEmptyFrame): it gets weight 2^(kEmptyFrame - M) = 0, or adds zeros if every piece is
// such.
//
// The merge of pieces i, in tile order:  M = max_i frame_i,  w_i = 2^(frame_i - M),
//   out = sum_i w_i unscale_i out_i / sum_i w_i sum_i,   lse = ln2 * (M + log2(sum_i w_i sum_i));
// a total sum of exactly 0 means an empty row. NaN in a sum or in out stays NaN.
//
// Order of a row's columns ("accumulator order"). A thread of a 64 x N wgmma accumulator holds, for
// each row of its two, the columns 8n + 2q and 8n + 2q + 1, q = lane % 4. It stores 16 bytes at a
// time: the pairs of four neighbouring n. So a row is units of 8 numbers, four of them to 32
// columns:
//   element e of unit u = column  32 * (u / 4) + 8 * (e / 2) + 2 * (u % 4) + e % 2.
// Storing so takes no shared memory and no exchange, and a row stays contiguous.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/host_device.hpp"
#include "base/math.hpp"

namespace seesaw::gpu {

inline constexpr int kPartialUnitElements = 8;
inline constexpr int kPartialUnitBytes = 2 * kPartialUnitElements;
inline constexpr int kPartialMostColumns = 256;  // of a block
inline constexpr int kPartialLeastColumns = 64;  // of a block: a row is padded to a multiple
inline constexpr float kEmptyFrame = std::numeric_limits<float>::lowest();

// Statistics of one block of a row.
struct alignas(16) PartialStat {
  float frame;  // log2 units
  float sum;
  float unscale;
  float top;  // largest score, where somebody asks for it: unlike the frame, exactly
};
static_assert(sizeof(PartialStat) == 16, "read with one load");

// The power of two that brings numbers of at most `largest` in magnitude into fp16's range with
// room for rounding, and its inverse. `largest_bits`: that float's bits. Both are normal for any
// input; infinity and NaN stay what they are.
struct PartialScale {
  uint32_t scale_bits;
  uint32_t unscale_bits;
};
SEESAW_HOST_DEVICE constexpr PartialScale partial_scale(uint32_t largest_bits) {
  constexpr uint32_t kFractionBits = 23;
  constexpr uint32_t kBias = 127;
  constexpr uint32_t kTopExponent = 14;  // fp16 reaches just below 2^16
  const uint32_t exponent = (largest_bits >> kFractionBits) & 0xFFu;
  const uint32_t wanted = 2 * kBias + kTopExponent - exponent;
  const uint32_t scale = wanted < 2 * kBias - 1 ? wanted : 2 * kBias - 1;
  return {scale << kFractionBits, (2 * kBias - scale) << kFractionBits};
}

// Where a row keeps column `column`: the inverse of partial_column.
SEESAW_HOST_DEVICE constexpr int partial_place(int column) {
  const int unit = column / 32 * 4 + column % 8 / 2;
  return unit * kPartialUnitElements + column % 32 / 8 * 2 + column % 2;
}

// Column of element `element` (0..7) of unit `unit` of a row.
SEESAW_HOST_DEVICE constexpr int partial_column(int unit, int element) {
  return unit / 4 * 32 + element / 2 * 8 + unit % 4 * 2 + element % 2;
}

// The unit that holds `column`, and its element there.
SEESAW_HOST_DEVICE constexpr int partial_unit(int column) {
  return column / 32 * 4 + column % 8 / 2;
}
SEESAW_HOST_DEVICE constexpr int partial_element(int column) {
  return column / 8 % 4 * 2 + column % 2;
}

// Columns of a row's blocks: the most that divide d_v, so that no block is part of one.
SEESAW_HOST_DEVICE constexpr int partial_block_columns(int64_t d_v) {
  return d_v % kPartialMostColumns == 0         ? kPartialMostColumns
         : d_v % (kPartialMostColumns / 2) == 0 ? kPartialMostColumns / 2
                                                : kPartialLeastColumns;
}
SEESAW_HOST_DEVICE constexpr int partial_blocks(int64_t d_v) {
  return static_cast<int>(ceil_div<int64_t>(d_v, partial_block_columns(d_v)));
}
SEESAW_HOST_DEVICE constexpr int partial_units(int64_t d_v) {
  return partial_blocks(d_v) * (partial_block_columns(d_v) / kPartialUnitElements);
}

// Rows of all partials: [slot][kv_head][row].
struct PartialLayout {
  int64_t num_slots = 0;  // split::max_partials
  int64_t h_kv = 1;
  int64_t rows_per_head = 0;  // query rows of a KV head in a row group
  int64_t d_v = 512;

  SEESAW_HOST_DEVICE int64_t rows_per_slot() const { return h_kv * rows_per_head; }
  SEESAW_HOST_DEVICE int64_t num_rows() const { return num_slots * rows_per_slot(); }

  // Index of a row: times partial_units for its units, times partial_blocks for its statistics.
  SEESAW_HOST_DEVICE int64_t row_index(int64_t slot, int64_t kv_head, int64_t row) const {
    return (slot * h_kv + kv_head) * rows_per_head + row;
  }

  // Byte offsets from the workspace's start: out [num_rows][units], then stat [num_rows][blocks].
  SEESAW_HOST_DEVICE size_t out_offset() const { return 0; }
  SEESAW_HOST_DEVICE size_t stat_offset() const {
    return static_cast<size_t>(num_rows() * partial_units(d_v)) * kPartialUnitBytes;
  }
  SEESAW_HOST_DEVICE size_t size_bytes() const {
    const auto stats = static_cast<size_t>(num_rows() * partial_blocks(d_v));
    return round_up<size_t>(stat_offset() + stats * sizeof(PartialStat), 256);
  }
};

}  // namespace seesaw::gpu
