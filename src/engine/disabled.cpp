#include "engine/disabled.hpp"

#include <algorithm>
#include <cstdlib>

namespace seesaw::engine {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

bool names(std::string_view entry, std::string_view kernel) {
  return !entry.empty() && kernel.starts_with(entry) &&
         (kernel.size() == entry.size() || kernel[entry.size()] == '.');
}

}  // namespace

std::string_view find_disabled(std::string_view list, std::string_view kernel) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view entry = trimmed(list.substr(0, comma));
    if (names(entry, kernel)) {
      return entry;
    }
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return {};
}

std::string_view disabled_by_environment(std::string_view kernel) {
  const char* list = std::getenv("SEESAW_DISABLE");
  return list == nullptr ? std::string_view{} : find_disabled(list, kernel);
}

}  // namespace seesaw::engine
