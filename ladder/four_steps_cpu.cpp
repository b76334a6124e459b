#include "ladder/four_steps_cpu.hpp"

#include <algorithm>
#include <vector>

namespace seesaw::ladder {

template <int kHeadDim, int kValueDim>
void flash_attention_rows(const FlashRows<kHeadDim, kValueDim>& work, const FlashBlocks& blocks) {
  const Team alone;
  std::vector<float> scores(static_cast<size_t>(blocks.tokens));
  std::vector<float> weighted(kValueDim);
  std::vector<float> accumulated(static_cast<size_t>(work.rows) * kValueDim, 0.0F);
  std::vector<SoftmaxStats> rows(static_cast<size_t>(work.rows));
  for (int first = 0; first < work.tokens; first += blocks.tokens) {
    const int count = std::min(blocks.tokens, work.tokens - first);
    const Bf16* k = work.k + static_cast<int64_t>(first) * kHeadDim;
    const Bf16* v = work.v + static_cast<int64_t>(first) * kValueDim;
    for (int r = 0; r < work.rows; ++r) {
      const Bf16* q = work.q + static_cast<int64_t>(r) * kHeadDim;
      const float maximum =
          compute_qk_scores_and_max<kHeadDim>(alone, q, k, count, work.scale, scores.data());
      const SoftmaxStats block = compute_block_softmax_and_weighted_v<kValueDim>(
          alone, scores.data(), maximum, v, count, weighted.data());
      SoftmaxStats& row = rows[static_cast<size_t>(r)];
      row = merge_block_stats<kValueDim>(alone, row, block, weighted.data(),
                                         accumulated.data() + static_cast<int64_t>(r) * kValueDim);
    }
  }
  for (int r = 0; r < work.rows; ++r) {
    normalize_output<kValueDim>(alone, rows[static_cast<size_t>(r)],
                                accumulated.data() + static_cast<int64_t>(r) * kValueDim,
                                work.out + static_cast<int64_t>(r) * kValueDim);
  }
}

template void flash_attention_rows<64, 64>(const FlashRows<64, 64>&, const FlashBlocks&);
template void flash_attention_rows<128, 128>(const FlashRows<128, 128>&, const FlashBlocks&);
template void flash_attention_rows<576, 512>(const FlashRows<576, 512>&, const FlashBlocks&);

void run_four_steps_cpu(const Problem& problem, const FlashBlocks& blocks) {
  const int groups = ceil_div(problem.heads, blocks.rows);
#pragma omp parallel for schedule(dynamic)
  for (int task = 0; task < problem.batch * groups; ++task) {
    const int64_t sequence = task / groups;
    const int first_head = task % groups * blocks.rows;
    const int64_t first_row = sequence * problem.heads + first_head;
    const FlashRows<kQkColumns, kValueColumns> work = {
        problem.q + first_row * kQkColumns,
        problem.k + sequence * problem.max_tokens * kQkColumns,
        problem.v + sequence * problem.max_tokens * kValueColumns,
        std::min(blocks.rows, problem.heads - first_head),
        problem.seq_lens[sequence],
        problem.scale,
        problem.out + first_row * kValueColumns};
    flash_attention_rows(work, blocks);
  }
}

}  // namespace seesaw::ladder
