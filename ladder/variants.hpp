// Rungs 1 and 2 with other sizes than their own, for `seesaw tune ladder`; rung 3's are in
// rung_03_four_steps.hpp. The sizes are compiled in, so only those listed exist; any other gives
// the rung's own.
#pragma once

#include <array>

#include "ladder/problem.hpp"

namespace seesaw::ladder {

inline constexpr std::array kThreadCounts = {128, 256, 512};  // a thread owns 4, 2 or 1 columns
inline constexpr std::array kChunkSizes = {512, 1024, 2048, 4096};

Status prepare_rung_01_with(const Problem& problem, int threads, Launcher* launcher);

struct SharedMemorySizes {
  int threads = 256;
  int chunk_tokens = 2048;  // 8 KB of scores
};
Status prepare_rung_02_with(const Problem& problem, const SharedMemorySizes& sizes,
                            Launcher* launcher);

}  // namespace seesaw::ladder
