// Reads the arguments of a call from Python: arrays by DLPack, numbers, texts, bytes.
#pragma once

#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "seesaw/seesaw.h"

namespace seesaw::python {

namespace ffi = tvm::ffi;

// Bytes of the caller's, as an array of uint8.
struct Buffer {
  bool given = false;  // also where nothing of it can be used
  void* data = nullptr;
  uint64_t size_bytes = 0;
};

// A message of the library with Python's names for what it tells a C caller to use.
std::string in_words_of_python(std::string message);

// What the elements of a tensor may be: a set.
enum class Elements : uint8_t {
  kFloat = 1,  // float32, bfloat16, float16
  kInt32 = 2,
  kInt64 = 4,
  kBytes = 8  // uint8; int8 and float8_e4m3fn are taken as the bytes that they are
};
constexpr Elements operator|(Elements a, Elements b) {
  return static_cast<Elements>(static_cast<uint8_t>(a) | static_cast<uint8_t>(b));
}
constexpr bool allows(Elements set, Elements one) {
  return (static_cast<uint8_t>(set) & static_cast<uint8_t>(one)) != 0;
}

// Arguments in order. Each reader throws TypeError, in the library's four parts, if the next
// argument is something else.
class ArgumentReader {
 public:
  // `where`: the operation that messages name; it lives as long as the reader.
  ArgumentReader(const TVMFFIAny* args, int32_t count, const char* where);

  void set_where(const char* where) { where_ = where; }
  // Takes arrays of uint16 for the bits of bfloat16, which NumPy has no dtype for that DLPack would
  // carry. Off at first.
  void read_uint16_as_bfloat16(bool on) { uint16_is_bfloat16_ = on; }

  size_t count() const { return args_.size(); }
  bool at_end() const { return position_ == args_.size(); }
  bool next_is_none() const;
  void skip() { ++position_; }

  int64_t integer(const char* name);
  double number(const char* name);
  std::string text(const char* name);
  std::string optional_text(const char* name);  // "" for None
  std::string_view bytes(const char* name);     // lives as long as the call
  // Of int64 where int32 is wanted, too: narrowing_wanted() then, before anything is done with it.
  seesaw_tensor tensor(const char* name, Elements elements = Elements::kFloat);
  // data == NULL and rank 0 for None
  seesaw_tensor optional_tensor(const char* name, Elements elements = Elements::kFloat);
  // Of bool or uint8, described as of `dtype`.
  seesaw_tensor optional_mask(const char* name, int32_t dtype);
  // The 256-byte aligned part of an array of bytes; empty for None.
  Buffer buffer(const char* name);
  // Whether a tensor was of int64 that has to be of int32, which the caller makes of it.
  bool narrowing_wanted() const { return narrowing_wanted_; }

 private:
  const ffi::AnyView& next();
  ffi::TensorView view(const char* name);
  int32_t dtype_of(const char* name, const DLDataType& dtype, Elements elements);
  [[noreturn]] void refuse(const char* name, const char* allowed) const;

  std::span<const ffi::AnyView> args_;
  const char* where_;
  size_t position_ = 0;
  bool uint16_is_bfloat16_ = false;
  bool narrowing_wanted_ = false;
};

}  // namespace seesaw::python
