// The problem that the tensors of a call have.
#pragma once

#include "base/status.hpp"
#include "core/operation.hpp"

namespace seesaw::engine {

// Fills the problem's fields that are 0 from what the arguments' tensors tell. Both are the
// operation's structs, of this version.
Status problem_of(const Operation& operation, const void* args, void* problem);

}  // namespace seesaw::engine
