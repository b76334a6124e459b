// The operation append: what src/operations.cpp lists.
#pragma once

#include "core/operation.hpp"

namespace seesaw::append {

extern const Operation kOperation;

}  // namespace seesaw::append
