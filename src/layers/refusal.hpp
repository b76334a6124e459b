// The layers' messages: all begin with the same word.
#pragma once

#include "base/message.hpp"

namespace seesaw::layers {

inline constexpr const char* kWhere = "DeepSeekMLA";

inline Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

// The same for a dtype.
inline Status bad_type(std::string_view arrived, std::string_view allowed,
                       std::string_view remedy) {
  return invalid_type(four_part_message(kWhere, arrived, allowed, remedy));
}

}  // namespace seesaw::layers
