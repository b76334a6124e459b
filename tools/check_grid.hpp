// The shapes that `seesaw check` goes through: every axis of the contract alone, then random
// combinations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "synthetic.hpp"

namespace seesaw::tools {

enum class GridSize { kQuick, kNormal, kFull };

struct CheckCase {
  SyntheticShape shape;
  int64_t batch = 2;
  LengthRule lengths;
  uint32_t flags = 0;

  std::string name() const;  // "b2 sq1 hq16 hkv1 d576/512 len0-1000 page64 bf16 causal"
};

std::vector<CheckCase> check_grid(GridSize size, uint64_t seed);

}  // namespace seesaw::tools
