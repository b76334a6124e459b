// Rung 1: one block per output row.
//
// WHY. The simplest parallel MLA: every (sequence, head) has its own block, threads take tokens for
// the scores and columns for the output. This is the first CUDA kernel of the study notes, made
// correct. As printed there it
//   - subtracts no maximum, so a score above 88 makes exp() infinite and the row NaN;
//   - lets every thread of the block compute the same value (only the work of one is used);
//   - produces one number per head instead of a vector, because its value index has no column;
//   - projects into the latent space with weights that nobody passes in.
// The first and third are shown to fail in tests/ladder/notes_kernels_test.cpp. Here the latent
// projections are done before (they are matrix products), the softmax takes three passes over the
// tokens (maximum, sum, output), and the scores are recomputed in each: nothing is stored.
//
// COST. Every row reads all of K' three times and all of V' once, 2 bytes at a time. Each lane
// reads a row of its own, so that an instruction touches 32 lines: nine of ten loads hit L1, and L1
// is the limit all the same (measured, docs/notebook/0066).
#include "ladder/arithmetic.hpp"
#include "ladder/runtime.cuh"
#include "ladder/variants.hpp"

namespace seesaw::ladder {
namespace {

struct Row {
  const Bf16* q;  // [576]
  const Bf16* k;  // [tokens, 576]
  const Bf16* v;  // [tokens, 512]
  int tokens;
};

__device__ Row row_of_block(const Problem& p) {
  const int64_t head = blockIdx.x;
  const int64_t sequence = blockIdx.y;
  return {p.q + (sequence * p.heads + head) * kQkColumns,
          p.k + sequence * p.max_tokens * kQkColumns, p.v + sequence * p.max_tokens * kValueColumns,
          p.seq_lens[sequence]};
}

// scale * Q' . K'[token], one product at a time.
__device__ float score(const Row& row, int token, float scale) {
  const Bf16* k = row.k + static_cast<int64_t>(token) * kQkColumns;
  float sum = 0.0F;
  for (int c = 0; c < kQkColumns; ++c) {
    sum = fmaf(to_float(row.q[c]), to_float(k[c]), sum);
  }
  return sum * scale;
}

template <int kThreads>
__global__ void block_per_output(const Problem p) {
  __shared__ float part[kThreads];
  const Row row = row_of_block(p);
  const int thread = static_cast<int>(threadIdx.x);

  // Pass 1: the largest score. Each thread over its tokens, then one thread over the threads.
  float maximum = kNoMaximum;
  for (int t = thread; t < row.tokens; t += kThreads) {
    maximum = fmaxf(maximum, score(row, t, p.scale));
  }
  part[thread] = maximum;
  __syncthreads();
  for (int i = 0; i < kThreads; ++i) {
    maximum = fmaxf(maximum, part[i]);
  }
  __syncthreads();

  // Pass 2: the sum of exponentials.
  float sum = 0.0F;
  for (int t = thread; t < row.tokens; t += kThreads) {
    sum += expf(score(row, t, p.scale) - maximum);
  }
  part[thread] = sum;
  __syncthreads();
  sum = 0.0F;
  for (int i = 0; i < kThreads; ++i) {
    sum += part[i];
  }

  // Pass 3: the output, a group of tokens at a time: each thread scores one token of the group,
  // then adds the group's values to its columns.
  float out[kValueColumns / kThreads] = {};
  for (int first = 0; first < row.tokens; first += kThreads) {
    __syncthreads();  // the previous group's probabilities have been read
    const int token = first + thread;
    part[thread] = token < row.tokens ? expf(score(row, token, p.scale) - maximum) / sum : 0.0F;
    __syncthreads();
    const int count = row.tokens - first < kThreads ? row.tokens - first : kThreads;
    for (int i = 0; i < count; ++i) {
      const Bf16* v = row.v + static_cast<int64_t>(first + i) * kValueColumns;
      for (int j = 0; j < kValueColumns / kThreads; ++j) {
        out[j] = fmaf(part[i], to_float(v[thread + j * kThreads]), out[j]);
      }
    }
  }
  Bf16* result = p.out + (static_cast<int64_t>(blockIdx.y) * p.heads + blockIdx.x) * kValueColumns;
  for (int j = 0; j < kValueColumns / kThreads; ++j) {
    result[thread + j * kThreads] = to_bf16(out[j]);
  }
}

}  // namespace

Status prepare_rung_01_with(const Problem& problem, int threads, Launcher* launcher) {
  const auto kernel = threads == 512   ? block_per_output<512>
                      : threads == 256 ? block_per_output<256>
                                       : block_per_output<128>;
  const LaunchShape shape = {problem.heads, problem.batch, threads};
  *launcher = [=](Stream stream) { return launch(kernel, shape, stream, problem); };
  return {};
}

Status prepare_rung_01(const Problem& problem, Launcher* launcher) {
  return prepare_rung_01_with(problem, 128, launcher);
}

}  // namespace seesaw::ladder
