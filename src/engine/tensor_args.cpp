#include "engine/tensor_args.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/message.hpp"

namespace seesaw::engine {

std::vector<std::string_view> names_in(std::string_view shape) {
  std::vector<std::string_view> names;
  while (!shape.empty()) {
    const size_t begin = shape.find_first_not_of("[], ");
    if (begin == std::string_view::npos) {
      break;
    }
    const size_t end = std::min(shape.find_first_of("[], ", begin), shape.size());
    names.push_back(shape.substr(begin, end - begin));
    shape.remove_prefix(end);
  }
  return names;
}

const Field* find_field(std::span<const Field> fields, std::string_view name) {
  const auto* found = std::find_if(fields.data(), fields.data() + fields.size(),
                                   [&](const Field& field) { return field.name == name; });
  return found == fields.data() + fields.size() ? nullptr : found;
}

const char* shape_of(const Arg& arg, const Operation& operation, const void* problem) {
  for (const Field& field : operation.problem) {
    if (std::string_view(field.name) == arg.other.field) {
      return get_number(field, problem) != 0 ? arg.other.shape : arg.shape;
    }
  }
  return arg.shape;
}

const Tensor& tensor_at(const Arg& arg, const void* args) {
  return *reinterpret_cast<const Tensor*>(static_cast<const char*>(args) + arg.offset);
}

const Tensor* list_at(const Arg& arg, const void* args) {
  const Tensor* list;
  std::memcpy(&list, static_cast<const char*>(args) + arg.offset, sizeof(list));
  return list;
}

const Field* number_given(std::string_view from, std::span<const Field> scalars) {
  const auto found = std::find_if(scalars.begin(), scalars.end(), [&](const Field& number) {
    return from == std::string(number.name) + ".given";
  });
  return found == scalars.end() ? nullptr : &*found;
}

bool is_given(const Field& number, const void* args) {
  float value;
  std::memcpy(&value, static_cast<const char*>(args) + number.offset, sizeof(value));
  return value != 0.0F;
}

Status check_rank(const char* where, const Arg& arg, const Tensor& tensor) {
  if (tensor.rank < 0 || tensor.rank > kMaxRank) {
    return invalid_argument(four_part_message(
        where, fmt::format("{} has rank {}", arg.name, tensor.rank),
        fmt::format("0 to {}", kMaxRank), "Set rank to the number of dimensions."));
  }
  for (const uint64_t word : tensor.reserved) {
    if (word != 0) {
      return not_supported(four_part_message(
          where, fmt::format("{} with reserved words set", arg.name), "zeros in this version",
          "Zero the struct first, or use a newer library."));
    }
  }
  return {};
}

}  // namespace seesaw::engine
