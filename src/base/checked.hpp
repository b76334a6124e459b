// 64-bit arithmetic on sizes that come from outside: overflow is reported, never wrapped.
#pragma once

#include <cstdint>

namespace seesaw {

// *result = a * b; false if that does not fit.
inline bool checked_mul(int64_t a, int64_t b, int64_t* result) {
  return !__builtin_mul_overflow(a, b, result);
}

// *result = a + b; false if that does not fit.
inline bool checked_add(int64_t a, int64_t b, int64_t* result) {
  return !__builtin_add_overflow(a, b, result);
}

}  // namespace seesaw
