// Reads the arguments of a call from Python: arrays by DLPack, numbers, the fields of a problem.
#pragma once

#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>
#include <span>
#include <string>

#include "plan_cache.hpp"

namespace seesaw::python {

namespace ffi = tvm::ffi;

// Bytes of the caller's, as an array of uint8.
struct Buffer {
  void* data = nullptr;
  uint64_t size_bytes = 0;
};

// Arguments in order. Each reader throws TypeError, in the library's four parts, if the next
// argument is something else.
class ArgumentReader {
 public:
  // `where`: the operation that messages name; it lives as long as the reader.
  ArgumentReader(const TVMFFIAny* args, int32_t count, const char* where = "dense_decode");

  size_t count() const { return args_.size(); }

  int64_t integer(const char* name);
  double number(const char* name);
  std::string text(const char* name);
  // uint16 arrays are taken for the bits of bfloat16, which NumPy has no dtype for that DLPack
  // would carry. A problem's own dtypes are decided in Python, where uint16 is refused.
  seesaw_tensor tensor(const char* name);
  seesaw_tensor optional_tensor(const char* name);  // data == NULL for None
  // Of bool or uint8, described as of `dtype`.
  seesaw_tensor optional_mask(const char* name, int32_t dtype);
  // Also accepts [num_pages, page_size, d_qk], as one KV head.
  seesaw_tensor kv_cache();
  // The 256-byte aligned part of an array of bytes; empty for None.
  Buffer buffer(const char* name);
  ProblemFields problem();

 private:
  const ffi::AnyView& next();
  ffi::TensorView view(const char* name);
  bool next_is_none() const;

  std::span<const ffi::AnyView> args_;
  const char* where_;
  size_t position_ = 0;
};

}  // namespace seesaw::python
