// A layer's tensors in a published checkpoint: a folder with config.json and safetensors files.
#pragma once

#include <string>
#include <vector>

#include "base/status.hpp"
#include "files/safetensors.hpp"
#include "seesaw/layers.h"

namespace seesaw::layers {

// Files stay mapped, and tensors point into them, as long as this lives.
struct Checkpoint {
  std::string config;  // the text of config.json
  std::vector<files::SafetensorsFile> files;
  std::vector<std::string> names;
  std::vector<seesaw_named_tensor> tensors;  // of `names`
};

// Of all tensors whose names begin with the prefix.
Status read_checkpoint(const std::string& folder, const std::string& prefix,
                       Checkpoint* checkpoint);

}  // namespace seesaw::layers
