// How a thread block's shared memory is laid out: as many stages as fit.
#pragma once

#include <cstdint>

#include "attention/problem.hpp"
#include "attention/sm80/config.hpp"

namespace seesaw::attention::sm80 {

// The numbers of an instance of the kernel (kernels.hpp) that the host needs.
struct InstanceNumbers {
  int32_t value_columns;
  int32_t row_warps;
  int32_t tile_bytes;
  int32_t rest_bytes;

  int32_t tile_rows() const { return row_warps * kWarpRows; }
};

// Whether a stream's records have to be converted to what the products read.
bool converts(const Problem& problem);

// The layout with the most stages in at most `bytes`; .bytes is 0 if none fits.
SharedLayout layout_for(const Problem& problem, const InstanceNumbers& numbers, int32_t bytes);

}  // namespace seesaw::attention::sm80
