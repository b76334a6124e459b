// Messages in four parts: where, what arrived, what is allowed, what to do.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/status.hpp"

namespace seesaw {

// "dense_decode: d_qk = 192, allowed: 576, 512. For expanded heads use dense_prefill."
inline std::string four_part_message(std::string_view where, std::string_view arrived,
                                     std::string_view allowed, std::string_view remedy) {
  return fmt::format("{}: {}, allowed: {}. {}", where, arrived, allowed, remedy);
}

}  // namespace seesaw
