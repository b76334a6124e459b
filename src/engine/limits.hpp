// Problems against what kernels say of themselves in their tables.
#pragma once

#include "core/operation.hpp"

namespace seesaw::engine {

// Whether `problem` is within the limits of a kernel of `operation`, or which it breaks.
Support within_limits(const Operation& operation, const Kernel& kernel, const void* problem);

}  // namespace seesaw::engine
