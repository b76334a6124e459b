// The one problem that every rung solves: one step of MLA decoding.
//
// A row is one query head of one sequence, already absorbed into the latent space (docs/guide,
// chapter 1). For sequence b and head h, over the first seq_lens[b] tokens of that sequence:
//   S[t] = scale * Q'[b, h, :] . K'[b, t, :]        576 columns
//   A    = softmax(S)
//   O    = sum over t of A[t] * V'[b, t, :]         512 columns, V' = the first 512 of K'
// All heads share K' and V'. Inputs and output are bfloat16, sums float32 or better.
//
// Rungs 1 to 6 read K' and V' as two packed arrays, as traditional MLA with its separate latent
// projections would give them. Rungs 7 to 11 read the same tokens from a paged cache that holds
// each token once. The answer is the same, so the times can be compared.
#pragma once

#include <cstdint>
#include <functional>

#include "base/status.hpp"

namespace seesaw::ladder {

inline constexpr int kQkColumns = 576;     // d_qk: 512 latent and 64 rotary
inline constexpr int kValueColumns = 512;  // d_v
inline constexpr int kPageTokens = 64;     // tokens of a cache page, and of a tile

using Bf16 = uint16_t;  // the bits of a bfloat16
using Stream = void*;   // cudaStream_t, or ignored

// Pointers to device memory. A sequence has 1 <= seq_len <= max_tokens; slots past it hold
// anything.
struct Problem {
  int batch = 0;
  int heads = 0;
  int max_tokens = 0;                    // a multiple of kPageTokens
  int num_pages = 0;                     // of the pool
  float scale = 0.0F;                    // of the scores
  const Bf16* q = nullptr;               // [batch, heads, 576]
  const Bf16* k = nullptr;               // [batch, max_tokens, 576]
  const Bf16* v = nullptr;               // [batch, max_tokens, 512]
  const Bf16* pool = nullptr;            // [num_pages, 64, 576]
  const int32_t* block_table = nullptr;  // [batch, max_tokens / 64]: pages of each sequence
  const int32_t* seq_lens = nullptr;     // [batch]
  Bf16* out = nullptr;                   // [batch, heads, 512]

  int pages_per_sequence() const { return max_tokens / kPageTokens; }
};

// What a rung gives for a problem: a function that enqueues the work on a stream. Preparing may
// allocate and plan; launching does neither. The pointers in the problem must stay valid.
using Launcher = std::function<Status(Stream)>;

Status prepare_rung_01(const Problem& problem, Launcher* launcher);
Status prepare_rung_02(const Problem& problem, Launcher* launcher);
Status prepare_rung_03(const Problem& problem, Launcher* launcher);
Status prepare_rung_04(const Problem& problem, Launcher* launcher);
Status prepare_rung_05(const Problem& problem, Launcher* launcher);
Status prepare_rung_06(const Problem& problem, Launcher* launcher);
Status prepare_rung_07(const Problem& problem, Launcher* launcher);
Status prepare_rung_08(const Problem& problem, Launcher* launcher);
Status prepare_rung_09(const Problem& problem, Launcher* launcher);
Status prepare_rung_10(const Problem& problem, Launcher* launcher);
Status prepare_rung_11(const Problem& problem, Launcher* launcher);

}  // namespace seesaw::ladder
