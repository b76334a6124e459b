#include "arguments.hpp"

#include <utility>

#include "seesaw/seesaw.hpp"

namespace seesaw::python {
namespace {

// Names of the C ABI in messages, and what does the same in Python. Longer ones first.
constexpr std::pair<std::string_view, std::string_view> kNamesInPython[] = {
    {"Call it before seesaw_plan_run", "Call it before the schedule is used"},
    {"seesaw_plan_prepare", "schedule.update"},
    {"seesaw_plan_info", "seesaw.workspace_size"},
    {"seesaw_plan_run", "the operation itself"},
    {"data = NULL", "no memory"},
    {" = NULL", " not given"},
    {"a pointer to its first element", "memory that holds its elements"},
};

[[noreturn]] void throw_type_error(const std::string& message) {
  TVM_FFI_THROW(TypeError) << message;
  __builtin_unreachable();
}

std::string name_of(const DLDataType& dtype) {
  if (dtype.code == kDLComplex) {
    return "complex" + std::to_string(dtype.bits);
  }
  try {
    return std::string(ffi::DLDataTypeToString(dtype).c_str());
  } catch (const ffi::Error&) {  // a kind that this version of tvm-ffi has no name for
    return "of DLPack's kind " + std::to_string(dtype.code) + " and " + std::to_string(dtype.bits) +
           " bits";
  }
}

constexpr int32_t kNoDType = 0;

// The library's number of a scalar dtype, if it is one of these.
int32_t dtype_among(const DLDataType& dtype, Elements elements, bool uint16_is_bfloat16) {
  const auto is = [&](uint8_t code, uint8_t bits) {
    return dtype.code == code && dtype.bits == bits;
  };
  if (allows(elements, Elements::kFloat)) {
    if (is(kDLFloat, 32)) {
      return SEESAW_FLOAT32;
    }
    if (is(kDLFloat, 16)) {
      return SEESAW_FLOAT16;
    }
    if (is(kDLBfloat, 16) || (is(kDLUInt, 16) && uint16_is_bfloat16)) {
      return SEESAW_BFLOAT16;
    }
  }
  if (allows(elements, Elements::kInt32) && is(kDLInt, 32)) {
    return SEESAW_INT32;
  }
  if ((allows(elements, Elements::kInt64) || allows(elements, Elements::kInt32)) &&
      is(kDLInt, 64)) {
    return SEESAW_INT64;
  }
  if (allows(elements, Elements::kBytes) &&
      (is(kDLUInt, 8) || is(kDLInt, 8) || is(kDLFloat8_e4m3fn, 8))) {
    return SEESAW_UINT8;
  }
  return kNoDType;
}

std::string names_of(Elements elements) {
  constexpr std::pair<Elements, std::string_view> kNames[] = {
      {Elements::kFloat, "float32, bfloat16, float16"},
      {Elements::kInt32, "int32"},
      {Elements::kInt32 | Elements::kInt64, "int64"},
      {Elements::kBytes, "uint8"}};
  std::string names;
  for (const auto& [one, name] : kNames) {
    if (allows(elements, one)) {
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
  }
  return names;
}

bool is_uint8_or_bool(const DLDataType& dtype) {
  return dtype.lanes == 1 && dtype.bits == 8 && (dtype.code == kDLUInt || dtype.code == kDLBool);
}

seesaw_device device_of(const char* where, const char* name, const DLDevice& device) {
  switch (device.device_type) {
    case kDLCPU:
    case kDLCUDAHost:
      return {SEESAW_CPU, 0};
    case kDLCUDA:
    case kDLCUDAManaged:
      return {SEESAW_CUDA, device.device_id};
    default:
      throw_type_error(std::string(where) + ": " + name + " is on a device of DLPack type " +
                       std::to_string(static_cast<int>(device.device_type)) +
                       ", allowed: CPU and CUDA memory. Copy the array there.");
  }
}

void* address_of(const ffi::TensorView& view) {
  return static_cast<char*>(view.data_ptr()) + view.byte_offset();
}

void use_packed_strides(seesaw_tensor& tensor) {
  int64_t stride = 1;
  for (int32_t i = tensor.rank; i-- > 0;) {
    tensor.stride[i] = stride;
    stride *= tensor.shape[i] > 0 ? tensor.shape[i] : 1;
  }
}

seesaw_tensor convert(const char* where, const char* name, const ffi::TensorView& view,
                      int32_t dtype) {
  if (view.ndim() > SEESAW_MAX_RANK) {
    throw Error(SEESAW_INVALID_ARGUMENT, std::string(where) + ": " + name + " has rank " +
                                             std::to_string(view.ndim()) +
                                             ", allowed: 0 to 4. Merge dimensions.");
  }
  seesaw_tensor tensor{};
  tensor.data = address_of(view);
  tensor.rank = view.ndim();
  tensor.dtype = dtype;
  tensor.device = device_of(where, name, view.device());
  const ffi::ShapeView strides = view.strides();  // checked to be there, unlike stride(i)
  bool empty = false;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    tensor.shape[i] = view.size(i);
    tensor.stride[i] = strides[static_cast<size_t>(i)];
    empty = empty || tensor.shape[i] == 0;
  }
  if (empty) {
    use_packed_strides(tensor);  // producers give an empty array any, 0 among them
  }
  return tensor;
}

}  // namespace

ArgumentReader::ArgumentReader(const TVMFFIAny* args, int32_t count, const char* where)
    : args_(reinterpret_cast<const ffi::AnyView*>(args), static_cast<size_t>(count)),
      where_(where) {}

const ffi::AnyView& ArgumentReader::next() {
  if (position_ == args_.size()) {
    throw_type_error("seesaw_ffi: " + std::to_string(args_.size()) +
                     " arguments, allowed: those of the same version's Python files. "
                     "Install the package anew.");
  }
  return args_[position_++];
}

bool ArgumentReader::next_is_none() const {
  return position_ < args_.size() && args_[position_].type_index() == ffi::TypeIndex::kTVMFFINone;
}

void ArgumentReader::refuse(const char* name, const char* allowed) const {
  throw_type_error(std::string(where_) + ": " + name + " of type " +
                   args_[position_ - 1].GetTypeKey() + ", allowed: " + allowed);
}

std::string in_words_of_python(std::string message) {
  for (const auto& [in_c, in_python] : kNamesInPython) {
    for (size_t at = message.find(in_c); at != std::string::npos;
         at = message.find(in_c, at + in_python.size())) {
      message.replace(at, in_c.size(), in_python);
    }
  }
  return message;
}

int64_t ArgumentReader::integer(const char* name) {
  const auto value = next().try_cast<int64_t>();
  if (!value.has_value()) {
    refuse(name, "an integer of 64 bits. Pass an int.");
  }
  return *value;
}

double ArgumentReader::number(const char* name) {
  const auto value = next().try_cast<double>();
  if (!value.has_value()) {
    refuse(name, "a number. Pass a float.");
  }
  return *value;
}

std::string ArgumentReader::text(const char* name) {
  const auto value = next().try_cast<ffi::String>();
  if (!value.has_value()) {
    refuse(name, "a string. Pass a str.");
  }
  return std::string(value->data(), value->size());
}

std::string ArgumentReader::optional_text(const char* name) {
  if (next_is_none()) {
    ++position_;
    return {};
  }
  return text(name);
}

std::string_view ArgumentReader::bytes(const char* name) {
  const TVMFFIAny value = next().CopyToTVMFFIAny();
  if (value.type_index != kTVMFFIBytes) {
    refuse(name, "bytes. Pass what this module returned.");
  }
  const TVMFFIByteArray* array = TVMFFIBytesGetByteArrayPtr(value.v_obj);
  return {array->data, array->size};
}

ffi::TensorView ArgumentReader::view(const char* name) {
  const auto view = next().try_cast<ffi::TensorView>();
  if (!view.has_value()) {
    refuse(name, "an array. Pass one of NumPy, PyTorch, CuPy or JAX.");
  }
  return *view;
}

int32_t ArgumentReader::dtype_of(const char* name, const DLDataType& dtype, Elements elements) {
  const int32_t found =
      dtype.lanes == 1 ? dtype_among(dtype, elements, uint16_is_bfloat16_) : kNoDType;
  narrowing_wanted_ |= found == SEESAW_INT64 && !allows(elements, Elements::kInt64);
  if (found == kNoDType) {
    throw_type_error(std::string(where_) + ": " + name + " has dtype " + name_of(dtype) +
                     ", allowed: " + names_of(elements) + ". Convert the array.");
  }
  return found;
}

seesaw_tensor ArgumentReader::tensor(const char* name, Elements elements) {
  const ffi::TensorView array = view(name);
  return convert(where_, name, array, dtype_of(name, array.dtype(), elements));
}

seesaw_tensor ArgumentReader::optional_tensor(const char* name, Elements elements) {
  if (next_is_none()) {
    ++position_;
    return {};
  }
  return tensor(name, elements);
}

seesaw_tensor ArgumentReader::optional_mask(const char* name, int32_t dtype) {
  if (next_is_none()) {
    ++position_;
    return {};
  }
  const ffi::TensorView array = view(name);
  if (!is_uint8_or_bool(array.dtype())) {
    throw_type_error(std::string(where_) + ": " + name + " has dtype " + name_of(array.dtype()) +
                     ", allowed: bool, uint8; false and 0 hide. Convert it to bool.");
  }
  return convert(where_, name, array, dtype);
}

Buffer ArgumentReader::buffer(const char* name) {
  if (next_is_none()) {
    ++position_;
    return {};
  }
  const auto view = next().try_cast<ffi::TensorView>();
  const bool bytes = view.has_value() && view->ndim() == 1 && view->dtype().code == kDLUInt &&
                     view->dtype().bits == 8 && view->IsContiguous();
  if (!bytes) {
    refuse(name,
           "a contiguous one-dimensional array of uint8. "
           "Allocate it with workspace_size or make_schedule.");
  }
  constexpr uintptr_t kAlignment = 256;
  const auto begin = reinterpret_cast<uintptr_t>(address_of(*view));
  const uintptr_t padding = (kAlignment - begin % kAlignment) % kAlignment;
  const auto size = static_cast<uint64_t>(view->size(0));
  return {true, reinterpret_cast<void*>(begin + padding), size > padding ? size - padding : 0};
}

}  // namespace seesaw::python
