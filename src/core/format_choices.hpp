// The cache formats as choices of a field.
#pragma once

#include <array>
#include <cstddef>
#include <iterator>

#include "core/cache_format.hpp"
#include "core/field.hpp"

namespace seesaw {

inline constexpr auto kFormatChoices = [] {
  std::array<Choice, std::size(kFloatTypes) + std::size(kByteFormats)> choices{};
  size_t count = 0;
  for (const Choice& type : kFloatTypes) {
    choices[count++] = type;
  }
  for (const CacheFormat& format : kByteFormats) {
    choices[count++] = {format.name, format.id};
  }
  return choices;
}();

}  // namespace seesaw
