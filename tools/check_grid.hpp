// The shapes that `seesaw check` goes through: every axis of the contract alone, then random
// combinations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/synthetic.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

enum class GridSize { kQuick, kNormal, kFull };

struct CheckCase {
  seesaw_dense_decode_problem problem{.batch = 2};
  bool batch_invariant = false;
  bool ragged = false;  // sequences have 0 to s_q query tokens
  LengthRule lengths;
  Values values = Values::kSuite;
  uint64_t seed = 0;

  std::string name() const;  // "b2 sq1 hq16 hkv1 d576/512 len0-1000 page64 bf16 causal normal"
};

std::vector<CheckCase> check_grid(GridSize size, uint64_t seed);

}  // namespace seesaw::tools
