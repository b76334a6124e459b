// What the device can do at most, measured now: the rates that a call's speed is held against.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "lab/roofs/cpu_roofs.hpp"
#include "laboratory.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::tools {

struct Roofs {
  double peak_gflops = 0;  // of the multiply instruction that this problem's kernel can use
  double read_gbps = 0;
  const char* instruction = "";  // what peak_gflops is the rate of
};

// The threads that roofs are measured with: at most the CPUs there are, as more only take turns.
int roof_threads(int threads);
nlohmann::ordered_json to_json(const CpuRoofs& roofs);

// AMX, or bf16 dot products where they are faster than float multiply-adds, where both operands are
// bf16 and the CPU has the instruction; else float.
Roofs roofs_for(const CpuRoofs& roofs, const seesaw_dense_decode_problem& problem);

}  // namespace seesaw::tools
