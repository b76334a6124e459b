// How often this process has asked for heap memory, by malloc or operator new, in any thread and
// any library.
#pragma once

#include <cstdint>

namespace seesaw::testing {

// False in builds with sanitizers, which bring their own allocator.
bool allocations_are_counted();
int64_t allocation_count();

}  // namespace seesaw::testing
