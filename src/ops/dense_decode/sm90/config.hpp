// Numbers of sm90.dense_decode and the parameters of one launch.
#pragma once

#include <cuda.h>
#include <vector_types.h>

#include <cstdint>

#include "gpu/divisor.hpp"
#include "gpu/faults.hpp"
#include "gpu/partials.hpp"
#include "gpu/sm90/tile.hpp"
#include "split/split_kv.hpp"

namespace seesaw::dense_decode::sm90 {

using namespace gpu::sm90;

inline constexpr uint16_t kNaNBits = 0x7FFF;  // NaN of bf16 and of fp16

inline constexpr int kQueryLoaderWarps = 2;  // warps 2 and 3 of the producer warpgroup

inline constexpr int kThreads = 3 * kWarpgroupThreads;
inline constexpr int kLaunchRegisters = launch_registers(kThreads);
inline constexpr int kConsumerRegisters = 240;
inline constexpr int kProducerRegisters = 24;
static_assert(2 * kConsumerRegisters + kProducerRegisters <= 3 * kLaunchRegisters);

// A variant of the kernel: element type and width of a query.
template <typename ElementType, int kQkColumnsValue>
struct DenseDecodeConfig {
  using Element = ElementType;
  static constexpr int kQkColumns = kQkColumnsValue;  // d_qk
  static constexpr int kQkBoxes = kQkColumns / kBoxColumns;
  // With a rotary box, three boxes more do not fit: the second P tile overlays the rotary box of
  // Q, which both consumer warpgroups then keep in registers.
  static constexpr bool kHasRotaryBox = kQkBoxes > kValueBoxes;
  static_assert(kQkBoxes == kValueBoxes || kQkBoxes == kValueBoxes + 1);
  static constexpr bool kRotaryInRegisters = kHasRotaryBox;
  static constexpr int kValueN = kHalfColumns;  // columns of V that an instruction multiplies
  // A KV tile comes in this many copies, each with a barrier of its own: the boxes of the values,
  // kCopyBoxes at a time, and the rotary box.
  static constexpr int kKvCopies = kValueBoxes / kCopyBoxes + (kHasRotaryBox ? 1 : 0);
  static constexpr int kRotaryCopy = kValueBoxes / kCopyBoxes;
};

// Part of the queries, [b, s_q, h_q, columns]. Strides are elements.
struct QueryPart {
  const void* data;
  int64_t stride_batch, stride_token, stride_head;
};

// One launch. Strides are elements. Pointers are device memory.
struct DenseDecodeParams {
  // The cache as [page][kv_head][box][token of the page][64 columns]: 64 tokens of some boxes
  // (AttentionKernel::copy_boxes), and of the rotary box.
  CUtensorMap kv_map, kv_rotary_map;
  // The parts of Q as [sequence][box][token][head][64 columns]: a tile's 64 rows, 4 boxes of the
  // values' columns, and the rotary box. Only if q_by_tma.
  CUtensorMap q_half_map, q_rotary_map;

  const void* kv;  // [pages, page_size, h_kv, d_qk]
  int64_t kv_stride_page, kv_stride_token, kv_stride_head;
  QueryPart q[2];  // the values' columns, and the rotary ones
  void* out;       // [b, s_q, h_q, d_v]
  int64_t out_stride_batch, out_stride_token, out_stride_head;
  float* lse;  // [b, h_q, s_q] or null
  int64_t lse_stride_batch, lse_stride_head, lse_stride_token;
  const int32_t* seq_lens;  // [b]
  int64_t seq_len_stride;
  const int32_t* block_table;  // [b, max pages]
  int64_t block_table_stride;

  const split::WorkerPieces* worker_pieces;  // see split/split_kv.hpp
  const split::Piece* pieces;
  uint32_t schedule_tag;  // of the plan and the batch
  int32_t batch;
  gpu::Fault* fault;   // where a schedule of another plan or other lengths is reported
  uint4* partial_out;  // see gpu/partials.hpp
  gpu::PartialStat* partial_stat;
  gpu::PartialLayout partials;

  float scale_log2;  // > 0: scale * log2 e = scale_log2 * q_factor
  float q_factor;    // what Q is multiplied by when loaded: a signed power of two, or 0
  bool q_by_tma;     // a tile's rows are a box of heads and tokens; else copied row by row
  bool q_aligned;    // every row of both parts of q starts on 16 bytes
  bool out_aligned;  // every row of out starts on 16 bytes
  bool causal;
  float lse_factor;  // ln 2, or 1 for base 2
  float empty_lse;   // of a row with nothing to attend
  int32_t s_q;
  gpu::Divisor group;   // query heads of a KV head
  int32_t rows;         // s_q * group
  int32_t row_tiles;    // of a KV head
  int32_t group_tiles;  // of a row group: thread blocks that walk the same tiles
  int32_t h_kv;
  gpu::Divisor tiles_per_page;
};

}  // namespace seesaw::dense_decode::sm90
