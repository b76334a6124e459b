// All rungs, in order.
#pragma once

#include <array>

#include "ladder/problem.hpp"

namespace seesaw::ladder {

struct Rung {
  int number;
  const char* file;  // under ladder/
  const char* idea;
};

inline constexpr std::array<Rung, 11> kRungs = {{
    {1, "rung_01_block_per_output.cu", "one block per output row"},
    {2, "rung_02_shared_memory.cu", "scores in shared memory, tree reductions"},
    {3, "rung_03_four_steps.cu", "four-step flash attention"},
    {4, "rung_04_tiles.cu", "tiles in shared memory, 16-byte loads"},
    {5, "rung_05_warp_shuffles.cu", "maxima and sums by warp shuffles"},
    {6, "rung_06_mma_sync.cu", "tensor cores, mma.sync"},
    {7, "rung_07_paged_latent.cu", "absorbed, paged cache (scalar again)"},
    {8, "rung_08_tma.cu", "TMA loads, mma.sync"},
    {9, "rung_09_wgmma.cu", "WGMMA"},
    {10, "rung_10_seesaw.cu", "two warpgroups taking turns"},
    {11, "rung_11_split_kv.cu", "split-KV with combine (libseesaw)"},
}};

}  // namespace seesaw::ladder
