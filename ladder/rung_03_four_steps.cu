// Rung 3: flash attention in four steps.
//
// WHY. Rungs 1 and 2 make a pass over all tokens (or a chunk of 2048) before they touch a value.
// Flash attention takes a small block of tokens through everything at once, and merges its result
// into the row's by the online softmax, so that nothing of the size of the sequence is stored and a
// block of K' and V' is used while it is near. The steps are named functions in four_steps.hpp,
// templated on the head dimension, compiled for host and device:
//   [1] compute_qk_scores_and_max   [2] compute_block_softmax_and_weighted_v
//   [3] merge_block_stats           [4] normalize_output
// BLOCK_SIZE_Q rows share a block of BLOCK_SIZE_K tokens, so a token read from L2 serves all of
// them from L1. Block sizes are parameters: prepare_rung_03_with().
//
// COST. As plain as it can be: 2-byte loads from global memory, exponentials computed by every
// thread again, maxima scanned by every thread, and with 64 tokens a block half of the threads have
// none to score: slower than rung 2 (docs/notebook/0030). Rungs 4 to 6 remove these one by one.
#include "ladder/four_steps.hpp"
#include "ladder/rung_03_four_steps.hpp"
#include "ladder/runtime.cuh"

namespace seesaw::ladder {
namespace {

// Dynamic shared memory: three float arrays, then the rows' statistics.
struct Layout {
  float* scores;       // [block tokens]
  float* part;         // [threads]: each member's maximum
  float* weighted;     // [columns]: one block's weighted values; a column belongs to one thread
  float* accumulated;  // [block rows, columns], likewise
  SoftmaxStats* rows;  // [block rows]
};

__device__ Layout layout_of(const FourStepsSizes& sizes) {
  Layout s;
  s.scores = reinterpret_cast<float*>(dynamic_shared());
  s.part = s.scores + sizes.block_tokens;
  s.weighted = s.part + sizes.threads;
  s.accumulated = s.weighted + kValueColumns;
  s.rows = reinterpret_cast<SoftmaxStats*>(s.accumulated + sizes.block_rows * kValueColumns);
  return s;
}

size_t shared_bytes(const FourStepsSizes& sizes) {
  const int floats = sizes.block_tokens + sizes.threads + (1 + sizes.block_rows) * kValueColumns;
  return static_cast<size_t>(floats) * sizeof(float) +
         static_cast<size_t>(sizes.block_rows) * sizeof(SoftmaxStats);
}

template <int kHeadDim, int kValueDim>
__global__ void four_steps(const Problem p, const FourStepsSizes sizes) {
  const Layout s = layout_of(sizes);
  const Team team = {static_cast<int>(threadIdx.x), sizes.threads};
  const int64_t sequence = blockIdx.y;
  const int first_head = static_cast<int>(blockIdx.x) * sizes.block_rows;
  const int rows =
      p.heads - first_head < sizes.block_rows ? p.heads - first_head : sizes.block_rows;
  const int64_t first_row = sequence * p.heads + first_head;
  for (int i = team.rank; i < rows * kValueDim; i += team.size) {
    s.accumulated[i] = 0.0F;
  }
  for (int r = team.rank; r < rows; r += team.size) {
    s.rows[r] = SoftmaxStats{};
  }
  __syncthreads();

  const int tokens = p.seq_lens[sequence];
  for (int first = 0; first < tokens; first += sizes.block_tokens) {
    const int count = tokens - first < sizes.block_tokens ? tokens - first : sizes.block_tokens;
    const int64_t token = sequence * p.max_tokens + first;
    for (int r = 0; r < rows; ++r) {
      const Bf16* q = p.q + (first_row + r) * kHeadDim;
      s.part[team.rank] = compute_qk_scores_and_max<kHeadDim>(team, q, p.k + token * kHeadDim,
                                                              count, p.scale, s.scores);  // [1]
      __syncthreads();
      float maximum = kNoMaximum;
      for (int i = 0; i < team.size; ++i) {
        maximum = fmaxf(maximum, s.part[i]);
      }
      const SoftmaxStats block = compute_block_softmax_and_weighted_v<kValueDim>(
          team, s.scores, maximum, p.v + token * kValueDim, count, s.weighted);  // [2]
      const SoftmaxStats merged =
          merge_block_stats<kValueDim>(team, s.rows[r], block, s.weighted,
                                       s.accumulated + r * kValueDim);  // [3]
      __syncthreads();  // everyone has read the scores, the parts and the row's statistics
      if (team.rank == 0) {
        s.rows[r] = merged;
      }
    }
  }
  __syncthreads();
  for (int r = 0; r < rows; ++r) {
    normalize_output<kValueDim>(team, s.rows[r], s.accumulated + r * kValueDim,
                                p.out + (first_row + r) * kValueDim);  // [4]
  }
}

}  // namespace

Status prepare_rung_03_with(const Problem& problem, const FourStepsSizes& sizes,
                            Launcher* launcher) {
  const auto kernel = four_steps<kQkColumns, kValueColumns>;
  const LaunchShape shape = {ceil_div(problem.heads, sizes.block_rows), problem.batch,
                             sizes.threads, shared_bytes(sizes)};
  SEESAW_RETURN_IF_ERROR(allow_shared(kernel, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(kernel, shape, stream, problem, sizes); };
  return {};
}

Status prepare_rung_03(const Problem& problem, Launcher* launcher) {
  return prepare_rung_03_with(problem, FourStepsSizes{}, launcher);
}

}  // namespace seesaw::ladder
