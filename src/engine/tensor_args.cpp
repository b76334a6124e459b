#include "engine/tensor_args.hpp"

#include <algorithm>
#include <cstring>

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

const Tensor& tensor_at(const Arg& arg, const void* args) {
  return *reinterpret_cast<const Tensor*>(static_cast<const char*>(args) + arg.offset);
}

const Tensor* list_at(const Arg& arg, const void* args) {
  const Tensor* list;
  std::memcpy(&list, static_cast<const char*>(args) + arg.offset, sizeof(list));
  return list;
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
