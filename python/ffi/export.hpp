// What every function of the modules does at its edges: exceptions for Python, the stream of a
// call, answers. Each exported symbol is a tvm-ffi packed function that reads plain arguments
// (arrays, numbers, texts, keys) and returns nothing, an int, a key or one JSON string: no object
// whose layout belongs to a version of tvm-ffi crosses this boundary.
#pragma once

#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "arguments.hpp"
#include "seesaw/seesaw.hpp"

// The signature of a tvm-ffi function; load_module finds it by the prefix.
#define SEESAW_EXPORT extern "C" TVM_FFI_DLL_EXPORT

// Exports a function of seesaw::python: of a reader, of a reader and a result, or of a result
// alone.
#define SEESAW_EXPORT_CALL(name)                                                                \
  SEESAW_EXPORT int __tvm_ffi_##name(void*, const TVMFFIAny* args, int32_t count, TVMFFIAny*) { \
    return seesaw::python::guarded([&] {                                                        \
      seesaw::python::ArgumentReader reader(args, count, "seesaw_ffi");                         \
      return seesaw::python::name(reader);                                                      \
    });                                                                                         \
  }
#define SEESAW_EXPORT_ANSWER(name)                                                \
  SEESAW_EXPORT int __tvm_ffi_##name(void*, const TVMFFIAny* args, int32_t count, \
                                     TVMFFIAny* result) {                         \
    return seesaw::python::guarded([&] {                                          \
      seesaw::python::ArgumentReader reader(args, count, "seesaw_ffi");           \
      return seesaw::python::name(reader, result);                                \
    });                                                                           \
  }
#define SEESAW_EXPORT_FACT(name)                                                            \
  SEESAW_EXPORT int __tvm_ffi_##name(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) { \
    return seesaw::python::guarded([&] { return seesaw::python::name(result); });           \
  }

namespace seesaw::python {

// The stream of a call: the caller's, or with kCurrentStream the one that tvm-ffi took over from
// the array library.
constexpr int64_t kCurrentStream = -1;

inline void* stream_of(int64_t given, const seesaw_device& device) {
  if (device.type != SEESAW_CUDA) {
    return nullptr;
  }
  return given == kCurrentStream ? TVMFFIEnvGetStream(kDLCUDA, device.index)
                                 : reinterpret_cast<void*>(given);
}

// The status of a failure is the kind of Python's exception.
[[noreturn]] inline void rethrow_for_python(const Error& error) {
  const std::string message = in_words_of_python(error.what());
  switch (error.status()) {
    case SEESAW_INVALID_ARGUMENT:
      TVM_FFI_THROW(ValueError) << message;
    case SEESAW_INVALID_TYPE:
      TVM_FFI_THROW(TypeError) << message;
    case SEESAW_NOT_SUPPORTED:
      TVM_FFI_THROW(NotImplementedError) << message;
    default:
      TVM_FFI_THROW(RuntimeError) << message;
  }
  __builtin_unreachable();
}

// Runs a function's body; what it throws becomes a Python exception.
template <typename Body>
int guarded(Body body) {
  TVM_FFI_SAFE_CALL_BEGIN();
  try {
    return body();
  } catch (const Error& error) {
    rethrow_for_python(error);
  }
  TVM_FFI_SAFE_CALL_END();
}

inline int return_integer(int64_t value, TVMFFIAny* result) {
  result->type_index = kTVMFFIInt;
  result->v_int64 = value;
  return 0;
}

inline int return_bytes(std::string_view content, TVMFFIAny* result) {
  const TVMFFIByteArray bytes{content.data(), content.size()};
  return TVMFFIBytesFromByteArray(&bytes, result);
}

// For questions, not for calls.
using Json = nlohmann::ordered_json;

inline int return_json(const Json& json, TVMFFIAny* result) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  const TVMFFIByteArray bytes{text.data(), text.size()};
  return TVMFFIStringFromByteArray(&bytes, result);
}

inline Json json_of(const std::vector<KernelSupport>& answers) {
  Json rows = Json::array();
  for (const KernelSupport& answer : answers) {
    rows.push_back(
        {{"kernel", answer.kernel}, {"supported", answer.supported}, {"reason", answer.reason}});
  }
  return rows;
}

}  // namespace seesaw::python
