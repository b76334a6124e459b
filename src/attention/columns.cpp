#include "attention/columns.hpp"

#include "base/message.hpp"

namespace seesaw::attention {

Status check_columns(const char* where, const Columns& columns) {
  if (columns.d_v > columns.d_qk) {
    return invalid_argument(four_part_message(
        where, fmt::format("d_v = {}", columns.d_v),
        fmt::format("1 to {} (d_qk), as values are the first columns of a key", columns.d_qk),
        "Set d_v to the columns of out."));
  }
  if (columns.d_rope >= columns.d_qk) {
    return invalid_argument(four_part_message(
        where, fmt::format("d_rope = {}", columns.d_rope),
        fmt::format("0 to {}, less than d_qk, as q has the other columns", columns.d_qk - 1),
        "Set d_rope to the columns of q_rotary."));
  }
  return {};
}

}  // namespace seesaw::attention
