// The emulator's side of ladder/runtime.cuh: a launch that runs fibers.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include "base/status.hpp"
#include "ladder/problem.hpp"

namespace seesaw::ladder {

inline unsigned char* dynamic_shared() { return emulator::shared_memory(); }

struct LaunchShape {
  int blocks_x = 1;
  int blocks_y = 1;
  int threads = 1;
  size_t shared_bytes = 0;
};

template <typename... Parameters>
Status allow_shared(void (*)(Parameters...), size_t bytes) {
  if (bytes > emulator::kSharedBytes) {
    return device_error("emulator: shared memory = " + std::to_string(bytes) +
                        " bytes, allowed: up to 232448. Use smaller tiles.");
  }
  return {};
}

template <typename... Parameters, typename... Arguments>
Status launch(void (*kernel)(Parameters...), const LaunchShape& shape, Stream,
              const Arguments&... arguments) {
  SEESAW_RETURN_IF_ERROR(allow_shared(kernel, shape.shared_bytes));
  emulator::run_grid(
      {.blocks = {static_cast<unsigned>(shape.blocks_x), static_cast<unsigned>(shape.blocks_y)},
       .threads = static_cast<unsigned>(shape.threads),
       .shared_bytes = shape.shared_bytes},
      [&] { kernel(arguments...); });
  return {};
}

}  // namespace seesaw::ladder
