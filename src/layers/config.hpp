// What a model's config.json says of its MLA layers.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.hpp"
#include "seesaw/baselines.h"

namespace seesaw::layers {

struct Config {
  seesaw_baseline_problem layer{};  // sizes, bias and YaRN; one token of one sequence; no dtype yet
  bool interleaved = true;  // columns 2i and 2i + 1 turn together; else i and i + d_rope / 2
};

// Reads the text of a config.json. An entry that is malformed, or asks for what is not computed
// here, is refused.
Status read_config(std::string_view text, Config* config);

}  // namespace seesaw::layers
