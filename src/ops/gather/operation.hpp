// The operation gather: what src/operations.cpp lists.
#pragma once

#include "core/operation.hpp"

namespace seesaw::gather {

extern const Operation kOperation;

}  // namespace seesaw::gather
