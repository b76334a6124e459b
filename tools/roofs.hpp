// What the device can do at most, measured now: the rates that a call's speed is held against.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "cpu/roofs.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::tools {

struct Roofs {
  double peak_gflops = 0;  // of the multiply instruction that this problem's kernel can use
  double read_gbps = 0;
  const char* instruction = "";  // what peak_gflops is the rate of
};

using bench::CpuRoofs;

// About a second. With at most `threads`, and at most the CPUs there are: more threads than CPUs
// only take turns.
CpuRoofs measure_cpu_roofs(int threads);
int roof_threads(int threads);  // the number that it takes
nlohmann::ordered_json to_json(const CpuRoofs& roofs);

// bf16 dot products where both operands are bf16 and the CPU has the instruction, else float.
Roofs roofs_for(const CpuRoofs& roofs, const DenseDecodeDescriptor& problem);

}  // namespace seesaw::tools
