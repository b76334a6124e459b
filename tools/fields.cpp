#include "fields.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "error.hpp"
#include "lab/device/device.hpp"

namespace seesaw::tools {
namespace {

using Type = Field::Type;

template <typename T>
T read(const Field& field, const void* from) {
  T value;
  std::memcpy(&value, static_cast<const char*>(from) + field.offset, sizeof(value));
  return value;
}

template <typename T>
void write(const Field& field, T value, void* to) {
  std::memcpy(static_cast<char*>(to) + field.offset, &value, sizeof(value));
}

// Other words for a choice: types as people shorten them, and truth.
std::string full_name(const Field& field, const std::string& text) {
  if (field.type == Type::kDType) {
    return text == "bf16"   ? "bfloat16"
           : text == "fp16" ? "float16"
           : text == "fp32" ? "float32"
                            : text;
  }
  if (field.is_yes_or_no()) {
    const bool yes = text == "true" || text == "True" || text == "1";
    const bool no = text == "false" || text == "False" || text == "0";
    return yes ? "yes" : no ? "no" : text;
  }
  return text;
}

// The whole text as a number in the field's range.
bool parse_number(const Field& field, const std::string& text, void* to) {
  const char* end = text.data() + text.size();
  if (field.type == Type::kFloat32) {
    char* stop = nullptr;
    const auto value = static_cast<float>(std::strtod(text.c_str(), &stop));
    write(field, value, to);
    return !text.empty() && *stop == '\0' && std::isfinite(value);
  }
  if (field.is_whole()) {
    int64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    const bool good =
        error == std::errc() && stop == end && value >= field.least && value <= field.most;
    if (good) {
      set_number(field, value, to);
    }
    return good;
  }
  for (const auto& [name, value] : field.choices) {
    if (name == full_name(field, text)) {
      set_number(field, value, to);
      return true;
    }
  }
  return false;
}

}  // namespace

std::string allowed_text(const Field& field) {
  if (field.is_whole()) {
    return fmt::format("{} to {}", field.least, field.most);
  }
  if (field.type == Type::kFloat32) {
    return "a finite number";
  }
  std::string names;
  for (const auto& [name, value] : field.choices) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  }
  return field.type == Type::kDType ? names + " (bf16, fp16, fp32)"
         : field.is_yes_or_no()     ? "true, false"
                                    : names;
}

std::string value_text(const Field& field, int64_t value) {
  for (const auto& [name, number] : field.choices) {
    if (number == value) {
      return name;
    }
  }
  return field.has_choices() ? "" : std::to_string(value);
}

int64_t get_number(const Field& field, const void* from) {
  return field.type == Type::kInt64 ? read<int64_t>(field, from) : read<int32_t>(field, from);
}

void set_number(const Field& field, int64_t value, void* to) {
  if (field.type == Type::kInt64) {
    write(field, value, to);
  } else {
    write(field, static_cast<int32_t>(value), to);
  }
}

const char* keep(const std::string& text) {
  static std::set<std::string> kept;
  return kept.insert(text).first->c_str();
}

void parse_field(const Field& field, const std::string& text, void* to, const std::string& where) {
  if (field.type == Type::kText) {
    write(field, text.empty() ? nullptr : keep(text), to);
  } else if (field.type == Type::kDevice) {
    write(field, parse_device(text), to);
  } else if (!parse_number(field, text, to)) {
    throw bad_input({where, field.name + " = " + printable(text), "allowed: " + allowed_text(field),
                     "It is " + field.help + "."});
  }
}

std::string field_text(const Field& field, const void* from) {
  switch (field.type) {
    case Type::kText: {
      const auto* text = read<const char*>(field, from);
      return text == nullptr ? "" : text;
    }
    case Type::kDevice:
      return lab::device_text(read<seesaw_device>(field, from));
    case Type::kFloat32:
      return fmt::format("{:.9g}", read<float>(field, from));
    default:
      return value_text(field, get_number(field, from));
  }
}

nlohmann::ordered_json field_json(const Field& field, const void* from) {
  if (field.is_yes_or_no()) {
    return get_number(field, from) != 0;
  }
  if (field.is_whole()) {
    return get_number(field, from);
  }
  return field_text(field, from);
}

nlohmann::ordered_json fields_json(const std::vector<Field>& fields, const void* from) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const Field& field : fields) {
    json[field.name] = field_json(field, from);
  }
  return json;
}

std::string fields_text(const std::vector<Field>& fields, const void* from) {
  std::string text;
  for (const Field& field : fields) {
    const std::string value = field_text(field, from);
    const bool not_asked =
        field.is_whole() ? value == "0" : field.is_of_argument() && value == "no";
    if (!value.empty() && !not_asked) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", field.name, value);
    }
  }
  return text;
}

void set_defaults(const std::vector<Field>& fields, void* to) {
  for (const Field& field : fields) {
    if ((field.is_whole() || field.has_choices()) && get_number(field, to) == 0) {
      set_number(field, field.fallback, to);
    }
  }
}

seesaw_device parse_device(const std::string& text) {
  if (text == "cpu") {
    return {SEESAW_CPU, 0};
  }
  const std::string prefix = "cuda";
  if (text == prefix) {
    return {SEESAW_CUDA, 0};
  }
  int index = -1;
  if (text.rfind(prefix + ":", 0) == 0) {
    const char* begin = text.c_str() + prefix.size() + 1;
    const char* end = text.c_str() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, index);
    if (error == std::errc() && stop == end && index >= 0) {
      return {SEESAW_CUDA, index};
    }
  }
  throw bad_input(
      {"--device", printable(text), "allowed: cpu, cuda, cuda:N", "Choose one of them."});
}

}  // namespace seesaw::tools
