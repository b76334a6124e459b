// The baselines' messages: all begin with the same word.
#pragma once

#include "base/message.hpp"
#include "boundary/sized.hpp"

namespace seesaw::baselines {

inline constexpr const char* kWhere = "baselines";

inline Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

// The same for a dtype.
inline Status bad_type(std::string_view arrived, std::string_view allowed,
                       std::string_view remedy) {
  return invalid_type(four_part_message(kWhere, arrived, allowed, remedy));
}

inline Status require(const void* pointer, const char* name) {
  return require_pointer(kWhere, pointer, name);
}

}  // namespace seesaw::baselines
