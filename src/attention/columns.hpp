// The columns of a query and a key: how they are divided.
#pragma once

#include <cstdint>

#include "base/status.hpp"

namespace seesaw::attention {

struct Columns {
  int64_t d_qk = 0;
  int64_t d_v = 0;     // the first ones of a key, which are the value
  int64_t d_rope = 0;  // the last ones of a query, which come as a tensor of their own; 0: none do
};

// Holds an operation's fields of these names against each other; `where` begins the message.
Status check_columns(const char* where, const Columns& columns);

}  // namespace seesaw::attention
