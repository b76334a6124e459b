// Rung 4: tiles in shared memory, vectorised loads.
//
// WHY. Rung 3's threads each walk a row of K' two bytes at a time, 1,152 bytes from their
// neighbour: 32 memory transactions for one instruction. Here the block first copies a tile of 64
// tokens (K' and V') and its query rows to shared memory, 16 bytes per thread, neighbours next to
// each other: full 128-byte transactions, each byte fetched once for 16 query rows. The products
// then read shared memory, 16 bytes at a time, and a thread scores one token for four rows, so that
// one read of K' serves four dot products.
//
// The four steps are rung 3's, rewritten for a block that does 16 rows at once; the partial result
// of a tile lives in registers (two columns of 16 rows per thread).
//
// COST. The maximum and the sum of a row are still found by one thread that scans 64 numbers while
// 240 others wait. Nothing overlaps: load, barrier, compute, barrier.
#include "ladder/runtime.cuh"
#include "ladder/tiles.cuh"

namespace seesaw::ladder {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 16;                                   // BLOCK_SIZE_Q
constexpr int kTokens = 64;                                 // BLOCK_SIZE_K
constexpr int kRowsPerThread = kRows * kTokens / kThreads;  // a thread scores one token, 4 rows

struct Stats {
  float maximum;
  float sum;
};

struct Shared {
  PaddedTile<kRows, kQkColumns> q;
  PaddedTile<kTokens, kQkColumns> k;
  PaddedTile<kTokens, kValueColumns> v;
  float scores[kRows][kTokens];
  float probabilities[kTokens][kRows];  // transposed: 16 rows of a token are four 16-byte reads
  Stats block[kRows];
};

// This thread's share of the output: columns 2 * thread and 2 * thread + 1 of every row.
struct Columns {
  float low[kRows];
  float high[kRows];
};

// [1] Scores of the tile, then the maximum of each row by one thread.
__device__ void compute_qk_scores_and_max(Shared& s, int count, float scale) {
  const int token = static_cast<int>(threadIdx.x) % kTokens;
  const int first_row = static_cast<int>(threadIdx.x) / kTokens * kRowsPerThread;
  float dot[kRowsPerThread] = {};
  for (int c = 0; c < kQkColumns; c += kColumnsPerLoad) {
    const Eight key = s.k.eight(token, c);
    for (int r = 0; r < kRowsPerThread; ++r) {
      dot[r] = dot_eight(s.q.eight(first_row + r, c), key, dot[r]);
    }
  }
  for (int r = 0; r < kRowsPerThread; ++r) {
    s.scores[first_row + r][token] = token < count ? dot[r] * scale : kNoMaximum;
  }
  __syncthreads();
  if (threadIdx.x < kRows) {
    float maximum = kNoMaximum;
    for (int t = 0; t < kTokens; ++t) {
      maximum = fmaxf(maximum, s.scores[threadIdx.x][t]);
    }
    s.block[threadIdx.x].maximum = maximum;
  }
  __syncthreads();
}

// [2] Exponentials, each once; their sum by one thread per row; the tile's weighted values.
__device__ void compute_block_softmax_and_weighted_v(Shared& s, Columns& weighted) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kTokens; i += kThreads) {
    const int row = i / kTokens;
    const int token = i % kTokens;
    s.probabilities[token][row] = expf(s.scores[row][token] - s.block[row].maximum);
  }
  __syncthreads();
  if (threadIdx.x < kRows) {
    float sum = 0.0F;
    for (int t = 0; t < kTokens; ++t) {
      sum += s.probabilities[t][threadIdx.x];
    }
    s.block[threadIdx.x].sum = sum;
  }
  weighted = Columns{};
  for (int t = 0; t < kTokens; ++t) {
    const uint32_t value = s.v.pair(t, 2 * static_cast<int>(threadIdx.x));
    for (int r = 0; r < kRows; ++r) {
      weighted.low[r] = fmaf(s.probabilities[t][r], low_half(value), weighted.low[r]);
      weighted.high[r] = fmaf(s.probabilities[t][r], high_half(value), weighted.high[r]);
    }
  }
  __syncthreads();
}

// [3] The tile's result into the rows': every thread its columns, and its own copy of the rows'
// statistics.
__device__ void merge_block_stats(const Shared& s, const Columns& weighted, Stats (&rows)[kRows],
                                  Columns& out) {
  for (int r = 0; r < kRows; ++r) {
    const float maximum = fmaxf(rows[r].maximum, s.block[r].maximum);
    const float row_factor = expf(rows[r].maximum - maximum);
    const float block_factor = expf(s.block[r].maximum - maximum);
    rows[r] = {maximum, rows[r].sum * row_factor + s.block[r].sum * block_factor};
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

__global__ void __launch_bounds__(kThreads, 1) tiles(const Problem p) {
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
  Columns weighted;
  Columns out = {};
  const int tokens = p.seq_lens[sequence];
  for (int first = 0; first < tokens; first += kTokens) {
    const int64_t token = sequence * p.max_tokens + first;
    __syncthreads();  // the previous tile has been used
    s.k.load<kThreads>(p.k + token * kQkColumns, tokens - first);
    s.v.load<kThreads>(p.v + token * kValueColumns, tokens - first);
    __syncthreads();
    compute_qk_scores_and_max(s, tokens - first, p.scale);
    compute_block_softmax_and_weighted_v(s, weighted);
    merge_block_stats(s, weighted, rows, out);
  }
  normalize_output(rows, out, num_rows, p.out + first_row * kValueColumns);
}

}  // namespace

Status prepare_rung_04(const Problem& problem, Launcher* launcher) {
  const LaunchShape shape = {ceil_div(problem.heads, kRows), problem.batch, kThreads,
                             sizeof(Shared)};
  SEESAW_RETURN_IF_ERROR(allow_shared(tiles, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(tiles, shape, stream, problem); };
  return {};
}

}  // namespace seesaw::ladder
