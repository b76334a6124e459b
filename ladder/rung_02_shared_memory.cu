// Rung 2: shared memory and cooperative reductions.
//
// WHY. Rung 1 computes every score three times. Keeping the scores in shared memory, the block
// computes each once, and maximum and sum become tree reductions in which all threads take part.
// This is the second, "optimised" kernel of the study notes, made correct. As printed there it
//   - answers for query position 0 only;
//   - asks for 2 D' + 2 N floats of shared memory, so that for D' = 576 it cannot start beyond
//     N = 5,568 tokens, or 28,480 with all 227 KB that a Hopper block may ask for;
//   - combines registers with shared values of other reduction steps, without a barrier between
//     (a race), and wraps the key index modulo D', so that long sequences read the wrong keys;
//   - writes one number per head, by one thread.
// The length limit, the wrapped index and the scalar output are shown to fail in
// tests/ladder/notes_kernels_test.cpp. Here the scores of a *chunk* of tokens are kept, and the
// chunks' results are merged with the online softmax, so any length fits.
//
// COST. K' once and V' once per row, still 2 bytes at a time and 32 lines an instruction: L1 is the
// limit as in rung 1 (docs/notebook/0066). And every row reads them again.
#include "ladder/arithmetic.hpp"
#include "ladder/runtime.cuh"
#include "ladder/variants.hpp"

namespace seesaw::ladder {
namespace {

template <int kThreads, int kChunkTokens>
struct Shared {
  float q[kQkColumns];
  float scores[kChunkTokens];  // then the probabilities, in place
  float tree[kThreads];        // workspace of a reduction
};

enum class Reduce { kMaximum, kSum };

// Combines one value per thread; every thread gets the result. Each level of the tree ends with a
// barrier, and a thread only reads what the level before has written.
template <Reduce kReduce, int kThreads, int kChunkTokens>
__device__ float reduce_over_block(Shared<kThreads, kChunkTokens>& shared, float value) {
  const unsigned thread = threadIdx.x;
  shared.tree[thread] = value;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      const float other = shared.tree[thread + half];
      shared.tree[thread] = kReduce == Reduce::kMaximum ? fmaxf(shared.tree[thread], other)
                                                        : shared.tree[thread] + other;
    }
    __syncthreads();
  }
  const float result = shared.tree[0];
  __syncthreads();  // before the workspace is used again
  return result;
}

template <int kThreads, int kChunkTokens>
__global__ void shared_memory_rows(const Problem p) {
  __shared__ Shared<kThreads, kChunkTokens> shared;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t sequence = blockIdx.y;
  const int64_t row = sequence * p.heads + blockIdx.x;
  const int tokens = p.seq_lens[sequence];
  const Bf16* k = p.k + sequence * p.max_tokens * kQkColumns;
  const Bf16* v = p.v + sequence * p.max_tokens * kValueColumns;
  for (int c = thread; c < kQkColumns; c += kThreads) {
    shared.q[c] = to_float(p.q[row * kQkColumns + c]);
  }
  __syncthreads();

  float maximum = kNoMaximum;
  float sum = 0.0F;
  float out[kValueColumns / kThreads] = {};
  for (int first = 0; first < tokens; first += kChunkTokens) {
    const int count = tokens - first < kChunkTokens ? tokens - first : kChunkTokens;
    float chunk_maximum = kNoMaximum;
    for (int t = thread; t < count; t += kThreads) {
      const Bf16* key = k + static_cast<int64_t>(first + t) * kQkColumns;
      float dot = 0.0F;
      for (int c = 0; c < kQkColumns; ++c) {
        dot = fmaf(shared.q[c], to_float(key[c]), dot);
      }
      shared.scores[t] = dot * p.scale;
      chunk_maximum = fmaxf(chunk_maximum, shared.scores[t]);
    }
    const float new_maximum =
        fmaxf(maximum, reduce_over_block<Reduce::kMaximum>(shared, chunk_maximum));

    float chunk_sum = 0.0F;
    for (int t = thread; t < count; t += kThreads) {
      shared.scores[t] = expf(shared.scores[t] - new_maximum);
      chunk_sum += shared.scores[t];
    }
    chunk_sum = reduce_over_block<Reduce::kSum>(shared, chunk_sum);

    // Online softmax: what was summed against the old maximum moves to the new one.
    const float rescale = expf(maximum - new_maximum);
    sum = sum * rescale + chunk_sum;
    maximum = new_maximum;
    for (int j = 0; j < kValueColumns / kThreads; ++j) {
      out[j] *= rescale;
    }
    for (int t = 0; t < count; ++t) {
      const Bf16* value = v + static_cast<int64_t>(first + t) * kValueColumns;
      for (int j = 0; j < kValueColumns / kThreads; ++j) {
        out[j] = fmaf(shared.scores[t], to_float(value[thread + j * kThreads]), out[j]);
      }
    }
    __syncthreads();  // the next chunk overwrites the scores
  }
  for (int j = 0; j < kValueColumns / kThreads; ++j) {
    p.out[row * kValueColumns + thread + j * kThreads] = to_bf16(out[j] / sum);
  }
}

template <int kThreads>
auto kernel_for(int chunk_tokens) {
  return chunk_tokens == 512    ? shared_memory_rows<kThreads, 512>
         : chunk_tokens == 1024 ? shared_memory_rows<kThreads, 1024>
         : chunk_tokens == 4096 ? shared_memory_rows<kThreads, 4096>
                                : shared_memory_rows<kThreads, 2048>;
}

}  // namespace

Status prepare_rung_02_with(const Problem& problem, const SharedMemorySizes& sizes,
                            Launcher* launcher) {
  const auto kernel = sizes.threads == 128   ? kernel_for<128>(sizes.chunk_tokens)
                      : sizes.threads == 512 ? kernel_for<512>(sizes.chunk_tokens)
                                             : kernel_for<256>(sizes.chunk_tokens);
  const LaunchShape shape = {problem.heads, problem.batch, sizes.threads};
  *launcher = [=](Stream stream) { return launch(kernel, shape, stream, problem); };
  return {};
}

Status prepare_rung_02(const Problem& problem, Launcher* launcher) {
  return prepare_rung_02_with(problem, SharedMemorySizes{}, launcher);
}

}  // namespace seesaw::ladder
