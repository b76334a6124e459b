// Rung 5: maxima and sums by warp shuffles.
//
// WHY. In rung 4 one thread per row scans 64 scores, twice, behind a barrier. A warp's threads can
// read each other's registers: in five exchange steps (butterfly, distances 16, 8, 4, 2, 1) all 32
// hold the maximum of their 32 values, with no shared memory and no barrier. A thread already holds
// the scores of one token for four rows, a warp those of 32 tokens, so two warps' results make a
// row of the tile. The exponentials are taken from the registers where the scores are, so the
// scores never go to shared memory at all, and exp() becomes exp2 with log2(e) folded into the
// scale.
//
// COST. Measured: nothing gained (docs/notebook/0030). The scans were a small part of a tile's
// time; an idea can be right and not matter yet. What remains is the arithmetic on CUDA cores, with
// a conversion of each bfloat16 before it can be multiplied, and loads that nothing hides.
#include "ladder/runtime.cuh"
#include "ladder/tiles.cuh"

namespace seesaw::ladder {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 16;
constexpr int kTokens = 64;
constexpr int kRowsPerThread = kRows * kTokens / kThreads;
constexpr int kParts = kTokens / 32;  // warps that share a row

struct Stats {
  float maximum;  // of scale * log2(e) * q . k
  float sum;
};

struct Shared {
  PaddedTile<kRows, kQkColumns> q;
  PaddedTile<kTokens, kQkColumns> k;
  PaddedTile<kTokens, kValueColumns> v;
  float probabilities[kTokens][kRows];
  float maximum[kParts][kRows];  // of each warp's half of the tile
  float sum[kParts][kRows];
};

struct Columns {
  float low[kRows];
  float high[kRows];
};

__device__ float warp_maximum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0U, value, distance));
  }
  return value;
}

__device__ float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(~0U, value, distance);
  }
  return value;
}

// Where a thread's four scores belong.
struct Place {
  int token;
  int first_row;
  int part;
};

__device__ Place place_of_thread() {
  const int thread = static_cast<int>(threadIdx.x);
  return {thread % kTokens, thread / kTokens * kRowsPerThread, thread / 32 % kParts};
}

// [1] Scores in registers, the maximum of each row in two parts.
__device__ void compute_qk_scores_and_max(Shared& s, int count, float scale_log2,
                                          float (&scores)[kRowsPerThread]) {
  const Place place = place_of_thread();
  float dot[kRowsPerThread] = {};
  for (int c = 0; c < kQkColumns; c += kColumnsPerLoad) {
    const Eight key = s.k.eight(place.token, c);
    for (int r = 0; r < kRowsPerThread; ++r) {
      dot[r] = dot_eight(s.q.eight(place.first_row + r, c), key, dot[r]);
    }
  }
  for (int r = 0; r < kRowsPerThread; ++r) {
    scores[r] = place.token < count ? dot[r] * scale_log2 : kNoMaximum;
    s.maximum[place.part][place.first_row + r] = warp_maximum(scores[r]);  // 32 equal writes
  }
  __syncthreads();
}

__device__ float block_maximum(const Shared& s, int row) {
  return fmaxf(s.maximum[0][row], s.maximum[1][row]);
}

// [2]
__device__ void compute_block_softmax_and_weighted_v(Shared& s,
                                                     const float (&scores)[kRowsPerThread],
                                                     Columns& weighted) {
  const Place place = place_of_thread();
  for (int r = 0; r < kRowsPerThread; ++r) {
    const int row = place.first_row + r;
    const float p = exp2f(scores[r] - block_maximum(s, row));
    s.probabilities[place.token][row] = p;
    s.sum[place.part][row] = warp_sum(p);
  }
  __syncthreads();
  weighted = Columns{};
  for (int t = 0; t < kTokens; ++t) {
    const uint32_t value = s.v.pair(t, 2 * static_cast<int>(threadIdx.x));
    for (int r = 0; r < kRows; ++r) {
      weighted.low[r] = fmaf(s.probabilities[t][r], low_half(value), weighted.low[r]);
      weighted.high[r] = fmaf(s.probabilities[t][r], high_half(value), weighted.high[r]);
    }
  }
}

// [3]
__device__ void merge_block_stats(const Shared& s, const Columns& weighted, Stats (&rows)[kRows],
                                  Columns& out) {
  for (int r = 0; r < kRows; ++r) {
    const float maximum = fmaxf(rows[r].maximum, block_maximum(s, r));
    const float row_factor = exp2f(rows[r].maximum - maximum);
    const float block_factor = exp2f(block_maximum(s, r) - maximum);
    rows[r] = {maximum, rows[r].sum * row_factor + (s.sum[0][r] + s.sum[1][r]) * block_factor};
    out.low[r] = out.low[r] * row_factor + weighted.low[r] * block_factor;
    out.high[r] = out.high[r] * row_factor + weighted.high[r] * block_factor;
  }
}

// [4]
__device__ void normalize_output(const Stats (&rows)[kRows], const Columns& out, int count,
                                 Bf16* result) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {  // a constant bound keeps the arrays in registers
    if (r < count) {
      *reinterpret_cast<uint32_t*>(result + r * kValueColumns + 2 * threadIdx.x) =
          pack_bf16(out.low[r] / rows[r].sum, out.high[r] / rows[r].sum);
    }
  }
}

__global__ void __launch_bounds__(kThreads, 1) warp_shuffles(const Problem p) {
  Shared& s = *reinterpret_cast<Shared*>(dynamic_shared());
  const int64_t sequence = blockIdx.y;
  const int first_head = static_cast<int>(blockIdx.x) * kRows;
  const int num_rows = p.heads - first_head < kRows ? p.heads - first_head : kRows;
  const int64_t first_row = sequence * p.heads + first_head;
  s.q.load<kThreads>(p.q + first_row * kQkColumns, num_rows);

  Stats rows[kRows];
  for (Stats& row : rows) {
    row = {kNoMaximum, 0.0F};
  }
  float scores[kRowsPerThread];
  Columns weighted;
  Columns out = {};
  const int tokens = p.seq_lens[sequence];
  for (int first = 0; first < tokens; first += kTokens) {
    const int64_t token = sequence * p.max_tokens + first;
    __syncthreads();  // the previous tile and its statistics have been used
    s.k.load<kThreads>(p.k + token * kQkColumns, tokens - first);
    s.v.load<kThreads>(p.v + token * kValueColumns, tokens - first);
    __syncthreads();
    compute_qk_scores_and_max(s, tokens - first, p.scale * kLog2E, scores);
    compute_block_softmax_and_weighted_v(s, scores, weighted);
    merge_block_stats(s, weighted, rows, out);
  }
  normalize_output(rows, out, num_rows, p.out + first_row * kValueColumns);
}

}  // namespace

Status prepare_rung_05(const Problem& problem, Launcher* launcher) {
  const LaunchShape shape = {ceil_div(problem.heads, kRows), problem.batch, kThreads,
                             sizeof(Shared)};
  SEESAW_RETURN_IF_ERROR(allow_shared(warp_shuffles, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(warp_shuffles, shape, stream, problem); };
  return {};
}

}  // namespace seesaw::ladder
