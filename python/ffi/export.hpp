// What every function of the modules does at its edges: exceptions for Python, the stream of a
// call, answers in JSON. Each module includes this once.
#pragma once

#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>

#include <string_view>

#include "json.hpp"
#include "seesaw/seesaw.hpp"

// The signature of a tvm-ffi function; load_module finds it by the prefix.
#define SEESAW_EXPORT extern "C" TVM_FFI_DLL_EXPORT

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

// The library has one status for bad arguments; Python tells wrong types from wrong values.
inline bool is_about_a_type(std::string_view message) {
  return message.find("dtype") != std::string_view::npos;
}

[[noreturn]] inline void rethrow_for_python(const Error& error) {
  const std::string_view message = error.what();
  switch (error.status()) {
    case SEESAW_INVALID_ARGUMENT:
      if (is_about_a_type(message)) {
        TVM_FFI_THROW(TypeError) << message;
      }
      TVM_FFI_THROW(ValueError) << message;
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

inline int return_json(const JsonWriter& json, TVMFFIAny* result) {
  const TVMFFIByteArray bytes{json.text().data(), json.text().size()};
  return TVMFFIStringFromByteArray(&bytes, result);
}

}  // namespace seesaw::python
