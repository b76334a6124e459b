// The four steps of flash attention as a CPU program: the row of the ladder that needs no GPU.
#pragma once

#include "ladder/four_steps.hpp"

namespace seesaw::ladder {

struct FlashBlocks {
  int rows = 16;    // BLOCK_SIZE_Q: query rows that share a block of tokens while it is in cache
  int tokens = 64;  // BLOCK_SIZE_K
};

// One group of query rows over one sequence's packed K [tokens, kHeadDim] and V [tokens,
// kValueDim].
template <int kHeadDim, int kValueDim>
struct FlashRows {
  const Bf16* q;  // [rows, kHeadDim]
  const Bf16* k;
  const Bf16* v;
  int rows;
  int tokens;
  float scale;
  Bf16* out;  // [rows, kValueDim]
};

// Attention of up to blocks.rows rows. Instantiated for (64, 64), (128, 128) and (576, 512).
template <int kHeadDim, int kValueDim>
void flash_attention_rows(const FlashRows<kHeadDim, kValueDim>& work, const FlashBlocks& blocks);

// The ladder's problem, pointers to host memory, one OpenMP task a group of rows.
void run_four_steps_cpu(const Problem& problem, const FlashBlocks& blocks);

}  // namespace seesaw::ladder
