#include "lab/elements.hpp"

#include <cstring>

#include "base/float16.hpp"

namespace seesaw::lab {
namespace {

template <typename T>
float load(const void* values, size_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(values) + i * sizeof(T), sizeof(T));
  return to_float(value);
}

template <typename T>
void store(void* values, size_t i, float value) {
  const T stored = from_float<T>(value);
  std::memcpy(static_cast<char*>(values) + i * sizeof(T), &stored, sizeof(T));
}

}  // namespace

float load_element(const void* values, int32_t dtype, size_t i) {
  return dtype == SEESAW_BFLOAT16  ? load<BFloat16>(values, i)
         : dtype == SEESAW_FLOAT16 ? load<Float16>(values, i)
                                   : load<float>(values, i);
}

void store_element(void* values, int32_t dtype, size_t i, float value) {
  switch (dtype) {
    case SEESAW_BFLOAT16:
      return store<BFloat16>(values, i, value);
    case SEESAW_FLOAT16:
      return store<Float16>(values, i, value);
    default:
      return store<float>(values, i, value);
  }
}

}  // namespace seesaw::lab
