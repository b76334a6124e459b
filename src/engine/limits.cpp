#include "engine/limits.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace seesaw::engine {
namespace {

std::string text_of(const Field& field, int64_t value) {
  for (const Choice& choice : field.choices) {
    if (choice.value == value) {
      return choice.name;
    }
  }
  return fmt::format("{}", value);
}

// What the limit breaks on `value`, or empty.
std::string needed(const Limit& limit, const Field& field, int64_t value) {
  std::string names;
  for (size_t i = 0; i < limit.values.size() && limit.values[i] != 0; ++i) {
    if (limit.values[i] == value) {
      return "";
    }
    names += fmt::format("{}{}", names.empty() ? "" : " or ", text_of(field, limit.values[i]));
  }
  if (limit.most > 0 && value > limit.most) {
    return fmt::format("at most {}", limit.most);
  }
  return value % limit.multiple_of == 0 ? names
                                        : fmt::format("a multiple of {}", limit.multiple_of);
}

}  // namespace

Support within_limits(const Operation& operation, const Kernel& kernel, const void* problem) {
  for (const Limit& limit : kernel.limits) {
    for (const Field& field : operation.problem) {
      if (std::string_view(field.name) != limit.field) {
        continue;
      }
      const int64_t value = get_number(field, problem);
      const std::string broken = needed(limit, field, value);
      if (!broken.empty()) {
        return Support::no(
            fmt::format("{} = {}, needs {}", field.name, text_of(field, value), broken));
      }
    }
  }
  return Support::yes();
}

}  // namespace seesaw::engine
