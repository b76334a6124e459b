// Rung 7: absorbed MLA over a paged cache.
//
// WHY. Until now K' and V' were two arrays, as the notes' traditional MLA has them from two latent
// projections. DeepSeek's MLA has one: after absorbing the up-projections into the query, the value
// of a token *is* the first 512 columns of its key (docs/guide, chapter 1). So a token is stored,
// and loaded, once: 1,152 bytes instead of 2,176, and the tile takes half the shared memory, so two
// blocks fit on an SM and one loads while the other computes.
// And a server does not know how long a sequence will get, so the cache is a pool of pages of 64
// tokens; a block table names the pages of each sequence. With a tile per page, paging costs one
// integer read a tile.
//
// To show this, the arithmetic goes back to rung 5's: scalar, on CUDA cores (but a tile is added to
// the output in place, which needs fewer registers, as two blocks share an SM). Rung 8 brings the
// tensor cores to this cache. Compare this rung with rung 5, and rung 8 with rung 6.
#include "ladder/runtime.cuh"
#include "ladder/tiles.cuh"

namespace seesaw::ladder {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 16;
constexpr int kTokens = kPageTokens;
constexpr int kRowsPerThread = kRows * kTokens / kThreads;
constexpr int kParts = kTokens / 32;

struct Stats {
  float maximum;
  float sum;
};

struct Shared {
  PaddedTile<kRows, kQkColumns> q;
  PaddedTile<kTokens, kQkColumns> k;  // columns 0 to 511 are the values
  float probabilities[kTokens][kRows];
  float maximum[kParts][kRows];
  float sum[kParts][kRows];
  float running[kRows];  // the rows' maxima before this tile
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

__device__ float new_maximum(const Shared& s, int row) {
  return fmaxf(s.running[row], fmaxf(s.maximum[0][row], s.maximum[1][row]));
}

// Scores and probabilities of the tile: thread t has token t % 64 of four rows. Probabilities are
// relative to the new maximum of the row at once, so that they add to its output without a factor.
__device__ void compute_probabilities(Shared& s, int count, float scale_log2) {
  const int thread = static_cast<int>(threadIdx.x);
  const int token = thread % kTokens;
  const int first_row = thread / kTokens * kRowsPerThread;
  const int part = thread / 32 % kParts;
  float score[kRowsPerThread] = {};
  for (int c = 0; c < kQkColumns; c += kColumnsPerLoad) {
    const Eight key = s.k.eight(token, c);
    for (int r = 0; r < kRowsPerThread; ++r) {
      score[r] = dot_eight(s.q.eight(first_row + r, c), key, score[r]);
    }
  }
  for (int r = 0; r < kRowsPerThread; ++r) {
    score[r] = token < count ? score[r] * scale_log2 : kNoMaximum;
    s.maximum[part][first_row + r] = warp_maximum(score[r]);
  }
  __syncthreads();
  for (int r = 0; r < kRowsPerThread; ++r) {
    const int row = first_row + r;
    const float p = exp2f(score[r] - new_maximum(s, row));
    s.probabilities[token][row] = p;
    s.sum[part][row] = warp_sum(p);
  }
  __syncthreads();
}

// Adds the tile to the rows' results, after moving those to the new maximum.
__device__ void merge_tile(Shared& s, Stats (&rows)[kRows], Columns& out) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float maximum = new_maximum(s, r);
    const float factor = exp2f(rows[r].maximum - maximum);
    rows[r] = {maximum, rows[r].sum * factor + s.sum[0][r] + s.sum[1][r]};
    out.low[r] *= factor;
    out.high[r] *= factor;
  }
  for (int t = 0; t < kTokens; ++t) {
    const uint32_t value = s.k.pair(t, 2 * static_cast<int>(threadIdx.x));
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      out.low[r] = fmaf(s.probabilities[t][r], low_half(value), out.low[r]);
      out.high[r] = fmaf(s.probabilities[t][r], high_half(value), out.high[r]);
    }
  }
  __syncthreads();  // everyone has read the running maxima
  if (threadIdx.x < kRows) {
    s.running[threadIdx.x] = new_maximum(s, static_cast<int>(threadIdx.x));
  }
}

__global__ void __launch_bounds__(kThreads, 2) paged_latent(const Problem p) {
  Shared& s = *reinterpret_cast<Shared*>(dynamic_shared());
  const int64_t sequence = blockIdx.y;
  const int first_head = static_cast<int>(blockIdx.x) * kRows;
  const int num_rows = p.heads - first_head < kRows ? p.heads - first_head : kRows;
  const int64_t first_row = sequence * p.heads + first_head;
  s.q.load<kThreads>(p.q + first_row * kQkColumns, num_rows);

  if (threadIdx.x < kRows) {
    s.running[threadIdx.x] = kNoMaximum;
  }
  Stats rows[kRows];
  for (Stats& row : rows) {
    row = {kNoMaximum, 0.0F};
  }
  Columns out = {};
  const int tokens = p.seq_lens[sequence];
  const int32_t* pages = p.block_table + sequence * (p.max_tokens / kPageTokens);
  for (int tile = 0; tile * kTokens < tokens; ++tile) {
    const Bf16* page = p.pool + static_cast<int64_t>(pages[tile]) * kPageTokens * kQkColumns;
    const int count = tokens - tile * kTokens;
    __syncthreads();  // the previous tile has been used
    s.k.load<kThreads>(page, count);
    __syncthreads();
    compute_probabilities(s, count, p.scale * kLog2E);
    merge_tile(s, rows, out);
  }
  Bf16* result = p.out + first_row * kValueColumns + 2 * threadIdx.x;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (r < num_rows) {
      *reinterpret_cast<uint32_t*>(result + r * kValueColumns) =
          pack_bf16(out.low[r] / rows[r].sum, out.high[r] / rows[r].sum);
    }
  }
}

}  // namespace

Status prepare_rung_07(const Problem& problem, Launcher* launcher) {
  const LaunchShape shape = {ceil_div(problem.heads, kRows), problem.batch, kThreads,
                             sizeof(Shared)};
  SEESAW_RETURN_IF_ERROR(allow_shared(paged_latent, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(paged_latent, shape, stream, problem); };
  return {};
}

}  // namespace seesaw::ladder
