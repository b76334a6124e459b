// Where the partial results of split sequences lie in the workspace: written by the attention
// kernels straight from their accumulator registers, read by the combine.
//
// A partial is what one piece of a split sequence found, per query row:
//   out   512 floats, NOT normalised: sum over the piece's tokens of 2^(score - frame) * value
//   stat  {frame, sum}: scores are in base 2 (already times scale * log2 e); `frame` is the number
//         that was subtracted from them, `sum` is sum of 2^(score - frame). The frame may lie up to
//         8 below the true maximum: only ever use it together with `sum` and `out`.
// A row with nothing to attend in the piece has sum = 0, out = 0 and a finite frame far below any
// score (kEmptyFrame): it gets weight 2^(kEmptyFrame - M) = 0, or adds zeros if every piece is
// such.
//
// The merge of pieces i, in tile order:  M = max_i frame_i,  w_i = 2^(frame_i - M),
//   out = sum_i w_i out_i / sum_i w_i sum_i,   lse = ln2 * (M + log2(sum_i w_i sum_i));
// a total sum of exactly 0 means an empty row. NaN in a sum or in out stays NaN.
//
// Order of a row's 512 columns ("accumulator order"). A thread of a 64x256 wgmma accumulator holds,
// for each row of its two, the columns 8n + 2q and 8n + 2q + 1, n = 0..31, q = lane % 4. It stores
// 16 bytes at a time: the pairs of two neighbouring n. So a row is 128 units of 4 floats:
//   unit u = half * 64 + pair * 4 + q,   half = column / 256,   pair = n / 2,
//   element e of unit u = column  half * 256 + 16 * pair + 8 * (e / 2) + 2 * q + e % 2.
// Storing so takes no shared memory and no exchange, and a row stays contiguous (2 KB).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.hpp"
#include "base/math.hpp"

namespace seesaw::cuda {

inline constexpr int kPartialColumns = 512;  // d_v
inline constexpr int kPartialUnitElements = 4;
inline constexpr int kPartialUnitsPerRow = kPartialColumns / kPartialUnitElements;
inline constexpr float kEmptyFrame = -1.0e38F;

// One row's statistics, 8 bytes.
struct alignas(8) PartialStat {
  float frame;  // log2 units
  float sum;
};

// Column of element `element` (0..3) of unit `unit` (0..127) of a row.
SEESAW_HOST_DEVICE constexpr int partial_column(int unit, int element) {
  const int half = unit / 64;
  const int pair = (unit / 4) % 16;
  const int quad_lane = unit % 4;
  return half * 256 + pair * 16 + (element / 2) * 8 + quad_lane * 2 + element % 2;
}

// The unit that holds `column` (0..511), and its element there.
SEESAW_HOST_DEVICE constexpr int partial_unit(int column) {
  return (column / 256) * 64 + ((column % 256) / 16) * 4 + (column % 8) / 2;
}
SEESAW_HOST_DEVICE constexpr int partial_element(int column) {
  return ((column / 8) % 2) * 2 + column % 2;
}

// Rows of all partials: [slot][kv_head][row], row = token * group + head of the group.
struct PartialLayout {
  int64_t num_slots = 0;  // plan::max_partials
  int64_t h_kv = 1;
  int64_t rows_per_head = 0;  // s_q * group

  SEESAW_HOST_DEVICE int64_t num_rows() const { return num_slots * h_kv * rows_per_head; }

  // Index of a row, for both arrays.
  SEESAW_HOST_DEVICE int64_t row_index(int64_t slot, int64_t kv_head, int64_t row) const {
    return (slot * h_kv + kv_head) * rows_per_head + row;
  }

  // Byte offsets from the workspace's start: out [num_rows][512] float, then stat [num_rows].
  SEESAW_HOST_DEVICE size_t out_offset() const { return 0; }
  SEESAW_HOST_DEVICE size_t stat_offset() const {
    return static_cast<size_t>(num_rows()) * kPartialColumns * sizeof(float);
  }
  SEESAW_HOST_DEVICE size_t size_bytes() const {
    return round_up<size_t>(stat_offset() + static_cast<size_t>(num_rows()) * sizeof(PartialStat),
                            256);
  }
};

}  // namespace seesaw::cuda
