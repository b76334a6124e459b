// The layers once more, straight from their equations: plain loops in double over vectors of rows.
// Shares no code with the library.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "seesaw/baselines.hpp"

namespace seesaw::testing {

using Row = std::vector<double>;
using Rows = std::vector<Row>;  // tokens of one sequence

struct ReferenceCall {
  BaselineDescriptor layer;             // every default filled in
  std::map<std::string, Rows> weights;  // by parameter name; a vector has one row
  // Whether query token i of sequence b, head h sees key token s.
  std::function<bool(int64_t b, int64_t h, int64_t i, int64_t s)> sees;
  std::function<double(int64_t b, int64_t token)> position;
};

// Output of `tokens` query tokens, the last of sequence b's `all` (past ones first), as if nothing
// had been cached.
Rows reference_layer(const ReferenceCall& call, int64_t b, const Rows& all, int64_t tokens);

}  // namespace seesaw::testing
