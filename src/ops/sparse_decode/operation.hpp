// The operation sparse_decode: what src/operations.cpp lists.
#pragma once

#include "core/operation.hpp"

namespace seesaw::sparse_decode {

extern const Operation kOperation;

}  // namespace seesaw::sparse_decode
