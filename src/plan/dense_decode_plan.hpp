// What planning decides for dense decoding, before any sequence length is known.
#pragma once

#include <cstddef>
#include <cstdint>

#include "plan/split_kv.hpp"
#include "problem/dense_decode.hpp"

namespace seesaw {

struct DenseDecodePlan {
  DenseDecodeProblem problem;
  plan::SplitConfig split;
  int32_t tile_rows = 0;       // query rows of a tile
  int32_t variant = 0;         // the kernel's own choice when planning; on the CPU, cpu::Target
  size_t workspace_bytes = 0;  // alignment 256
};

}  // namespace seesaw
