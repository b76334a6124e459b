// Arrays in host memory, of any floating dtype: the inputs of layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "seesaw/seesaw.h"

namespace seesaw::tools {

struct HostArray {
  seesaw_dtype dtype = SEESAW_FLOAT32;
  size_t count = 0;
  std::vector<std::byte> bytes;
};

// Normal with this deviation, cut at four deviations; the same for the same seed everywhere.
HostArray normal_array(size_t count, double sigma, seesaw_dtype dtype, uint64_t seed);
HostArray constant_array(size_t count, double value, seesaw_dtype dtype);

HostArray rounded(const std::vector<double>& values, seesaw_dtype dtype);  // through float32
std::vector<double> widened(const HostArray& array);                       // exact

}  // namespace seesaw::tools
