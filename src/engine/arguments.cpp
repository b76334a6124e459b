#include "engine/arguments.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "base/checked.hpp"
#include "base/message.hpp"
#include "core/cache_format.hpp"
#include "engine/tensor_args.hpp"

namespace seesaw::engine {
namespace {

// The dtype that an argument has to have.
DType dtype_wanted(const Arg& arg, const Operation& operation, const void* problem) {
  for (const DType dtype : kAllDTypes) {
    if (std::string_view(arg.dtype) == name_of(dtype)) {
      return dtype;
    }
  }
  const Field* field = find_field(operation.problem, arg.dtype);
  const auto value = static_cast<int32_t>(get_number(*field, problem));
  return field->type == FieldType::kFormat ? storage_of(value) : static_cast<DType>(value);
}

std::string shape_text(const Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.shape, tensor.shape + tensor.rank, ", "));
}

Status bad(const char* where, std::string_view arrived, std::string_view allowed,
           std::string_view remedy) {
  return invalid_argument(four_part_message(where, arrived, allowed, remedy));
}

Status check_dtype(const char* where, const Arg& arg, const Tensor& tensor, DType wanted) {
  if (tensor.dtype == static_cast<int32_t>(wanted)) {
    return {};
  }
  const std::string name = is_dtype(tensor.dtype) ? name_of(dtype_of(tensor))
                                                  : fmt::format("{} (unknown)", tensor.dtype);
  return invalid_type(four_part_message(where, fmt::format("{} has dtype {}", arg.name, name),
                                        name_of(wanted),
                                        "Convert the tensor, or plan for its dtype."));
}

// Strides that address memory inside 63 bits, the innermost 1 (of vectors: mostly any). Only
// dimensions larger than 1 count.
Status check_strides(const char* where, const Arg& arg, const Tensor& tensor) {
  int64_t last_byte = element_bytes(tensor);
  for (int32_t i = 0; i < tensor.rank; ++i) {
    const int64_t extent = tensor.shape[i];
    const int64_t stride = tensor.stride[i];
    if (extent <= 1) {
      continue;
    }
    const bool must_be_packed =
        !arg.strided && i + 1 == tensor.rank && (tensor.rank > 1 || arg.packed);
    if (must_be_packed ? stride != 1 : stride < 0) {
      return bad(where, fmt::format("{} has stride {} in dimension {}", arg.name, stride, i),
                 must_be_packed ? "1 in the innermost dimension" : "0 or more",
                 "Make a contiguous copy of the tensor.");
    }
    int64_t bytes = 0;
    if (!checked_mul(extent - 1, stride, &bytes) ||
        !checked_mul(bytes, element_bytes(tensor), &bytes) ||
        !checked_add(last_byte, bytes, &last_byte)) {
      return bad(where,
                 fmt::format("{} of shape {} has stride {}", arg.name, shape_text(tensor), stride),
                 "a tensor of less than 2^63 bytes", "Check the strides: they count elements.");
    }
  }
  return {};
}

// Results must not share elements: dimension by dimension in order of stride, each step has to go
// past all that the smaller ones reach.
Status check_no_overlap(const char* where, const Arg& arg, const Tensor& tensor) {
  int32_t order[kMaxRank];  // dimensions larger than 1 by stride
  int32_t count = 0;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] <= 1) {
      continue;
    }
    int32_t at = count++;
    for (; at > 0 && tensor.stride[order[at - 1]] > tensor.stride[i]; --at) {
      order[at] = order[at - 1];
    }
    order[at] = i;
  }
  int64_t reach = 1;  // elements from the first to the last so far, both included
  for (int32_t i = 0; i < count; ++i) {
    const int32_t dimension = order[i];
    if (tensor.stride[dimension] < reach) {
      return bad(where,
                 fmt::format("{} has stride {} in dimension {}", arg.name, tensor.stride[dimension],
                             dimension),
                 fmt::format("{} or more, so that no two elements lie at one place", reach),
                 "Give every element of the output memory of its own.");
    }
    reach += (tensor.shape[dimension] - 1) * tensor.stride[dimension];
  }
  return {};
}

Status check_memory(const char* where, const Arg& arg, const Tensor& tensor) {
  if (std::any_of(tensor.shape, tensor.shape + tensor.rank,
                  [](int64_t extent) { return extent == 0; })) {
    return {};  // nothing is read or written
  }
  if (tensor.data == nullptr) {
    return bad(where, fmt::format("{} has data = NULL", arg.name), "a pointer to its first element",
               "Pass the tensor's memory.");
  }
  const auto size = static_cast<uintptr_t>(element_bytes(tensor));
  if (reinterpret_cast<uintptr_t>(tensor.data) % size != 0) {
    return bad(where, fmt::format("{} is at address {}", arg.name, tensor.data),
               fmt::format("multiples of {} bytes", size), "Copy the tensor to aligned memory.");
  }
  return {};
}

// The field that tells whether calls may bring the argument or number of this name, if it says no;
// else null.
const Field* unplanned(const char* name, const Operation& operation, const void* problem) {
  const std::string from = std::string(name) + ".given";
  for (const Field& field : operation.problem) {
    if (from == field.from) {
      return get_number(field, problem) == 0 ? &field : nullptr;
    }
  }
  return nullptr;
}

Status refuse_unplanned(const char* where, std::string_view name, const Field& field) {
  return bad(where, fmt::format("{} given with {} = 0", name, field.name),
             "a call without, as planned",
             fmt::format("Leave it out, or plan with {} = 1.", field.name));
}

// As messages show it: "[b, s_q, h_q, d_qk - d_rope]".
std::string shape_name(const char* shape, const Arg& arg, int64_t lacking) {
  std::string name = shape;
  if (lacking != 0) {
    name.insert(name.size() - 1, fmt::format(" - {}", arg.lacks));
  }
  return name;
}

}  // namespace

ArgumentChecker::ArgumentChecker(const Operation& operation, const void* problem, Device device)
    : operation_(operation), device_(device), reserved_(reserved_bytes(operation)) {
  for (const Arg& arg : operation.args) {
    expected_.push_back(expect(arg, operation, problem));
  }
  for (const Field& number : operation.scalars) {
    if (const Field* field = unplanned(number.name, operation, problem); field != nullptr) {
      unplanned_numbers_.emplace_back(&number, field);
    }
  }
}

ReservedBytes ArgumentChecker::reserved_bytes(const Operation& operation) {
  std::vector<ReservedBytes::Range> covered;
  for (const Arg& arg : operation.args) {
    const size_t size = *arg.list == '\0' ? sizeof(Tensor) : sizeof(const Tensor*);
    covered.push_back({arg.offset, arg.offset + size});
  }
  for (const Field& field : operation.scalars) {
    covered.push_back(covered_by(field));
  }
  return ReservedBytes(std::move(covered), operation.args_bytes);
}

int32_t ArgumentChecker::symbol_of(std::string_view name, const Operation& operation,
                                   const void* problem) {
  for (size_t i = 0; i < symbols_.size(); ++i) {
    if (symbols_[i].name == name) {
      return static_cast<int32_t>(i);
    }
  }
  Symbol symbol;
  symbol.name = name;
  for (const Field& field : operation.problem) {
    if (field.from == name) {
      symbol.bound = &field;
      symbol.most = get_number(field, problem);
    }
  }
  symbols_.push_back(symbol);
  return static_cast<int32_t>(symbols_.size() - 1);
}

ArgumentChecker::Expected ArgumentChecker::expect(const Arg& arg, const Operation& operation,
                                                  const void* problem) {
  Expected expected;
  expected.arg = &arg;
  expected.dtype = dtype_wanted(arg, operation, problem);
  expected.shape = shape_of(arg, operation, problem);
  expected.unplanned = unplanned(arg.name, operation, problem);
  for (const std::string_view name : names_in(expected.shape)) {
    Dimension& dimension = expected.dims[static_cast<size_t>(expected.rank++)];
    if (const Field* field = find_field(operation.problem, name); field != nullptr) {
      dimension.expected = get_number(*field, problem);
    } else if (name == "1") {
      dimension.expected = 1;
    } else {
      dimension.symbol = symbol_of(name, operation, problem);
    }
  }
  if (const Field* field = find_field(operation.problem, arg.lacks); field != nullptr) {
    expected.lacking = get_number(*field, problem);
    expected.dims[static_cast<size_t>(expected.rank - 1)].expected -= expected.lacking;
  }
  if (const Field* field = find_field(operation.problem, arg.needed_by);
      field != nullptr && get_number(*field, problem) != 0) {
    expected.needed_by = field;
    expected.needed_value = get_number(*field, problem);
  }
  for (const Field& field : operation.problem) {
    const std::string prefix = std::string(arg.name) + ".stride.";
    const std::string_view from = field.from;
    if (from.starts_with(prefix)) {
      Dimension& dimension = expected.dims[static_cast<size_t>(from.back() - '0')];
      dimension.stride = get_number(field, problem);
      dimension.stride_field = &field;
    }
  }
  if (*arg.list != '\0') {
    expected.list_size = get_number(*find_field(operation.problem, arg.list), problem);
  }
  return expected;
}

std::string ArgumentChecker::shape_wanted(const Expected& expected, const Sizes& sizes) const {
  std::string text;
  for (int32_t i = 0; i < expected.rank; ++i) {
    const Dimension& dimension = expected.dims[static_cast<size_t>(i)];
    const int64_t size =
        dimension.symbol < 0 ? dimension.expected : sizes[static_cast<size_t>(dimension.symbol)];
    text += fmt::format("{}{}", i == 0 ? "" : ", ", size);
  }
  return fmt::format("{} = [{}] (-1: any size)",
                     shape_name(expected.shape, *expected.arg, expected.lacking), text);
}

Status ArgumentChecker::check_shape(const Expected& expected, const Tensor& tensor,
                                    Sizes* sizes) const {
  const Sizes before = *sizes;  // what the message shows
  bool matches = tensor.rank == expected.rank;
  for (int32_t i = 0; matches && i < expected.rank; ++i) {
    const Dimension& dimension = expected.dims[static_cast<size_t>(i)];
    const int64_t got = tensor.shape[i];
    if (dimension.symbol < 0) {
      matches = got == dimension.expected;
      continue;
    }
    int64_t& size = (*sizes)[static_cast<size_t>(dimension.symbol)];
    const Symbol& symbol = symbols_[static_cast<size_t>(dimension.symbol)];
    if (size == kAny && got > symbol.most) {
      return bad(operation_.name,
                 fmt::format("{} = {}.shape[{}] = {}", symbol.name, expected.arg->name, i, got),
                 fmt::format("0 to {} ({})", symbol.most, symbol.bound->name),
                 fmt::format("Bring less, or plan for a larger {}.", symbol.bound->name));
    }
    matches = got >= 0 && (size == kAny || got == size);
    size = got;
  }
  if (matches) {
    return {};
  }
  const char* name = expected.arg->name;
  return bad(operation_.name,
             tensor.rank == expected.rank ? fmt::format("{} has shape {}", name, shape_text(tensor))
                                          : fmt::format("{} has rank {}", name, tensor.rank),
             shape_wanted(expected, before), "Reshape the tensor, or plan for its shape.");
}

// A tensor without elements may have any address, NULL too.
Status ArgumentChecker::check_given(const Expected& expected, const Tensor& tensor) const {
  if (expected.unplanned != nullptr && tensor.data != nullptr) {
    return refuse_unplanned(operation_.name, expected.arg->name, *expected.unplanned);
  }
  if (expected.needed_by != nullptr && tensor.data == nullptr && tensor.rank == 0) {
    const char* field = expected.needed_by->name;
    return bad(
        operation_.name,
        fmt::format("{} not given with {} = {}", expected.arg->name, field, expected.needed_value),
        "a call with it, as planned", fmt::format("Pass it, or plan with {} = 0.", field));
  }
  return {};
}

Status ArgumentChecker::check_tensor(const Expected& expected, const Tensor& tensor,
                                     Sizes* sizes) const {
  const char* where = operation_.name;
  const Arg& arg = *expected.arg;
  SEESAW_RETURN_IF_ERROR(check_rank(where, arg, tensor));
  SEESAW_RETURN_IF_ERROR(check_shape(expected, tensor, sizes));
  SEESAW_RETURN_IF_ERROR(check_dtype(where, arg, tensor, expected.dtype));
  if (tensor.device.type != device_.type || tensor.device.index != device_.index) {
    return bad(where, fmt::format("{} is on {}", arg.name, name_of(tensor.device)),
               name_of(device_), "Move the tensor, or plan for its device.");
  }
  SEESAW_RETURN_IF_ERROR(check_strides(where, arg, tensor));
  if (arg.use != Use::kIn) {
    SEESAW_RETURN_IF_ERROR(check_no_overlap(where, arg, tensor));
  }
  for (int32_t i = 0; i < expected.rank; ++i) {
    const Dimension& dimension = expected.dims[static_cast<size_t>(i)];
    if (dimension.stride != kAny && tensor.shape[i] > 1 && tensor.stride[i] != dimension.stride) {
      return bad(
          where, fmt::format("{} has stride {} in dimension {}", arg.name, tensor.stride[i], i),
          fmt::format("{}, as planned", dimension.stride),
          fmt::format("Set {} of the problem and plan again.", dimension.stride_field->name));
    }
  }
  return check_memory(where, arg, tensor);
}

Status ArgumentChecker::check_scalars(const void* args) const {
  for (const auto& [number, field] : unplanned_numbers_) {
    if (is_given(*number, args)) {
      return refuse_unplanned(operation_.name, number->name, *field);
    }
  }
  for (const Field& field : operation_.scalars) {
    if (field.type != FieldType::kFloat32) {
      continue;
    }
    float value;
    std::memcpy(&value, static_cast<const char*>(args) + field.offset, sizeof(value));
    if (!std::isfinite(value)) {
      return bad(operation_.name, fmt::format("{} = {}", field.name, value), "a finite number",
                 fmt::format("Set it: {}.", field.help));
    }
  }
  return {};
}

Status ArgumentChecker::check(const void* args, bool prepare) const {
  Sizes sizes;
  sizes.fill(kAny);
  // What prepare reads comes first: it binds the sizes that the other arguments are held against.
  for (const bool first : {true, false}) {
    for (const Expected& expected : expected_) {
      const Arg& arg = *expected.arg;
      if (arg.prepares != first) {
        continue;
      }
      if (expected.list_size != kAny) {
        const Tensor* list = list_at(arg, args);
        if (list == nullptr) {
          return bad(operation_.name, fmt::format("{} = NULL", arg.name),
                     fmt::format("a list of {} tensors", expected.list_size), "Pass its address.");
        }
        for (int64_t i = 0; i < expected.list_size; ++i) {
          SEESAW_RETURN_IF_ERROR(check_tensor(expected, list[i], &sizes));
        }
        continue;
      }
      const Tensor& tensor = tensor_at(arg, args);
      SEESAW_RETURN_IF_ERROR(check_given(expected, tensor));
      if (arg.optional && tensor.data == nullptr && expected.needed_by == nullptr) {
        continue;
      }
      SEESAW_RETURN_IF_ERROR(check_tensor(expected, tensor, &sizes));
    }
    if (prepare) {
      return {};
    }
  }
  SEESAW_RETURN_IF_ERROR(check_scalars(args));
  return reserved_.check(operation_.name, args);
}

}  // namespace seesaw::engine
