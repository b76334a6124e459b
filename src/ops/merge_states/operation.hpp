// The operation merge_states: what src/operations.cpp lists.
#pragma once

#include "core/operation.hpp"

namespace seesaw::merge_states {

extern const Operation kOperation;

}  // namespace seesaw::merge_states
