// What planning decides for dense decoding, before any sequence length is known.
#pragma once

#include <cstddef>
#include <cstdint>

#include "split/split_kv.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw {

struct DenseDecodePlan {
  DenseDecodeProblem problem;
  split::SplitConfig split;
  int32_t tile_rows = 0;       // query rows of a tile
  int32_t variant = 0;         // the kernel's own choice when planning; on the CPU, cpu::Target
  int32_t chunk_tokens = 0;    // CPU: tokens packed at a time
  size_t workspace_bytes = 0;  // alignment 256
};

}  // namespace seesaw
