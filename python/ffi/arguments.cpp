#include "arguments.hpp"

namespace seesaw::python {
namespace {

[[noreturn]] void throw_type_error(const std::string& message) {
  TVM_FFI_THROW(TypeError) << message;
  __builtin_unreachable();
}

std::string name_of(const DLDataType& dtype) {
  return std::string(ffi::DLDataTypeToString(dtype).c_str());
}

// What a message begins with: the operation and the argument.
struct Name {
  const char* where;
  const char* argument;

  std::string text() const { return std::string(where) + ": " + argument; }
};

bool is_uint8_or_bool(const DLDataType& dtype) {
  return dtype.lanes == 1 && dtype.bits == 8 && (dtype.code == kDLUInt || dtype.code == kDLBool);
}

int32_t dtype_of(const Name& name, const DLDataType& dtype) {
  const bool scalar = dtype.lanes == 1;
  if (scalar && dtype.code == kDLFloat && dtype.bits == 32) {
    return SEESAW_FLOAT32;
  }
  if (scalar && dtype.code == kDLFloat && dtype.bits == 16) {
    return SEESAW_FLOAT16;
  }
  if (scalar && dtype.bits == 16 && (dtype.code == kDLBfloat || dtype.code == kDLUInt)) {
    return SEESAW_BFLOAT16;
  }
  if (scalar && dtype.code == kDLInt && dtype.bits == 32) {
    return SEESAW_INT32;
  }
  throw_type_error(name.text() + " has dtype " + name_of(dtype) +
                   ", allowed: float32, bfloat16, float16, and int32 for lengths, positions and "
                   "page ids. Convert the array.");
}

seesaw_device device_of(const Name& name, const DLDevice& device) {
  switch (device.device_type) {
    case kDLCPU:
    case kDLCUDAHost:
      return {SEESAW_CPU, 0};
    case kDLCUDA:
    case kDLCUDAManaged:
      return {SEESAW_CUDA, device.device_id};
    default:
      throw_type_error(name.text() + " is on a device of DLPack type " +
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

seesaw_tensor convert(const Name& name, const ffi::TensorView& view, int32_t dtype) {
  if (view.ndim() > SEESAW_MAX_RANK) {
    throw Error(SEESAW_INVALID_ARGUMENT, name.text() + " has rank " + std::to_string(view.ndim()) +
                                             ", allowed: 0 to 4. Merge dimensions.");
  }
  seesaw_tensor tensor{};
  tensor.data = address_of(view);
  tensor.rank = view.ndim();
  tensor.dtype = dtype;
  tensor.device = device_of(name, view.device());
  const ffi::ShapeView strides = view.strides();  // checked to be there, unlike stride(i)
  for (int32_t i = 0; i < tensor.rank; ++i) {
    tensor.shape[i] = view.size(i);
    tensor.stride[i] = strides[static_cast<size_t>(i)];
  }
  if (view.numel() == 0) {
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

int64_t ArgumentReader::integer(const char* name) {
  const auto value = next().try_cast<int64_t>();
  if (!value.has_value()) {
    throw_type_error(Name{where_, name}.text() + " of type " + args_[position_ - 1].GetTypeKey() +
                     ", allowed: an integer of 64 bits. Pass an int.");
  }
  return *value;
}

double ArgumentReader::number(const char* name) {
  const auto value = next().try_cast<double>();
  if (!value.has_value()) {
    throw_type_error(Name{where_, name}.text() + " of type " + args_[position_ - 1].GetTypeKey() +
                     ", allowed: a number. Pass a float.");
  }
  return *value;
}

std::string ArgumentReader::text(const char* name) {
  const auto value = next().try_cast<ffi::String>();
  if (!value.has_value()) {
    throw_type_error(Name{where_, name}.text() + " of type " + args_[position_ - 1].GetTypeKey() +
                     ", allowed: a string. Pass a str.");
  }
  return std::string(value->data(), value->size());
}

ffi::TensorView ArgumentReader::view(const char* name) {
  const auto view = next().try_cast<ffi::TensorView>();
  if (!view.has_value()) {
    throw_type_error(Name{where_, name}.text() + " of type " + args_[position_ - 1].GetTypeKey() +
                     ", allowed: an array with DLPack. Pass a NumPy, PyTorch, CuPy or JAX array.");
  }
  return *view;
}

seesaw_tensor ArgumentReader::tensor(const char* name) {
  const ffi::TensorView array = view(name);
  const Name full{where_, name};
  return convert(full, array, dtype_of(full, array.dtype()));
}

seesaw_tensor ArgumentReader::optional_tensor(const char* name) {
  if (next_is_none()) {
    ++position_;
    return {};
  }
  return tensor(name);
}

seesaw_tensor ArgumentReader::optional_mask(const char* name, int32_t dtype) {
  if (next_is_none()) {
    ++position_;
    return {};
  }
  const ffi::TensorView array = view(name);
  const Name full{where_, name};
  if (!is_uint8_or_bool(array.dtype())) {
    throw_type_error(full.text() + " has dtype " + name_of(array.dtype()) +
                     ", allowed: bool, uint8; false and 0 hide. Convert it to bool.");
  }
  return convert(full, array, dtype);
}

seesaw_tensor ArgumentReader::kv_cache() {
  seesaw_tensor cache = tensor("kv_cache");
  if (cache.rank == 3) {
    cache.rank = 4;
    cache.shape[3] = cache.shape[2];
    cache.stride[3] = cache.stride[2];
    cache.shape[2] = 1;
    cache.stride[2] = cache.shape[3];
  }
  return cache;
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
    throw_type_error(Name{where_, name}.text() + " of type " + args_[position_ - 1].GetTypeKey() +
                     ", allowed: a contiguous one-dimensional array of uint8. "
                     "Allocate it with workspace_size or make_schedule.");
  }
  constexpr uintptr_t kAlignment = 256;
  const auto begin = reinterpret_cast<uintptr_t>(address_of(*view));
  const uintptr_t padding = (kAlignment - begin % kAlignment) % kAlignment;
  const auto size = static_cast<uint64_t>(view->size(0));
  if (size <= padding) {
    return {};
  }
  return {reinterpret_cast<void*>(begin + padding), size - padding};
}

ProblemFields ArgumentReader::problem() {
  ProblemFields fields;
  for (int64_t& field : fields) {
    field = integer("a field of the problem");
  }
  return fields;
}

}  // namespace seesaw::python
