// The operation sparse_prefill: what src/operations.cpp lists.
#pragma once

#include "core/operation.hpp"

namespace seesaw::sparse_prefill {

extern const Operation kOperation;

}  // namespace seesaw::sparse_prefill
