// Rung 3 with other block sizes than its own.
#pragma once

#include "ladder/problem.hpp"

namespace seesaw::ladder {

struct FourStepsSizes {
  int block_rows = 4;     // BLOCK_SIZE_Q
  int block_tokens = 64;  // BLOCK_SIZE_K
  int threads = 128;
};

Status prepare_rung_03_with(const Problem& problem, const FourStepsSizes& sizes,
                            Launcher* launcher);

}  // namespace seesaw::ladder
