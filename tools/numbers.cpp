#include "numbers.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include "error.hpp"

namespace seesaw::tools {

seesaw_dtype parse_dtype(const std::string& text, const std::string& option) {
  if (text == "bf16" || text == "bfloat16") {
    return SEESAW_BFLOAT16;
  }
  if (text == "fp16" || text == "float16") {
    return SEESAW_FLOAT16;
  }
  if (text == "fp32" || text == "float32") {
    return SEESAW_FLOAT32;
  }
  throw bad_input(
      {option, "dtype = " + printable(text), "supported: bf16, fp16, fp32", "Choose one of them."});
}

const char* short_name(seesaw_dtype dtype) {
  switch (dtype) {
    case SEESAW_BFLOAT16:
      return "bf16";
    case SEESAW_FLOAT16:
      return "fp16";
    case SEESAW_FLOAT32:
      return "fp32";
    case SEESAW_INT32:
      return "int32";
  }
  return "unknown";
}

const char* contract_name(seesaw_dtype dtype) {
  switch (dtype) {
    case SEESAW_BFLOAT16:
      return "bfloat16";
    case SEESAW_FLOAT16:
      return "float16";
    case SEESAW_FLOAT32:
      return "float32";
    case SEESAW_INT32:
      return "int32";
  }
  return "unknown";
}

size_t size_of(seesaw_dtype dtype) {
  return dtype == SEESAW_BFLOAT16 || dtype == SEESAW_FLOAT16 ? 2 : 4;
}

FileDType file_dtype(seesaw_dtype dtype) {
  switch (dtype) {
    case SEESAW_BFLOAT16:
      return FileDType::kBF16;
    case SEESAW_FLOAT16:
      return FileDType::kF16;
    case SEESAW_FLOAT32:
      return FileDType::kF32;
    case SEESAW_INT32:
      break;
  }
  return FileDType::kI32;
}

float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float float16_to_float(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  float magnitude = 0;
  if (exponent == 31) {
    magnitude = fraction != 0 ? std::nanf("") : INFINITY;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) {
    return static_cast<uint16_t>((bits >> 16) | 0x40);
  }
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

uint16_t float_to_float16(float value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) {
    return static_cast<uint16_t>(sign | 0x7E00);
  }
  if (magnitude >= 65520.0F) {  // halfway from the largest finite number to 2^16
    return static_cast<uint16_t>(sign | 0x7C00);
  }
  int exponent = -14;  // of 0, which frexp would give 0
  if (magnitude > 0) {
    std::frexp(magnitude, &exponent);  // magnitude < 2^exponent
  }
  // Numbers of this binade (or the subnormals, below 2^-14) are multiples of 2^(step).
  const int step = exponent < -13 ? -24 : exponent - 11;
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -step)));
  // A normal number has 1024 <= units <= 2048; the carry of 2048 moves to the next binade.
  return static_cast<uint16_t>(sign | (units + (step + 24) * 1024));
}

float load_element(const void* values, seesaw_dtype dtype, size_t i) {
  if (dtype == SEESAW_FLOAT32) {
    float value = 0;
    std::memcpy(&value, static_cast<const char*>(values) + i * sizeof(value), sizeof(value));
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, static_cast<const char*>(values) + i * sizeof(bits), sizeof(bits));
  return dtype == SEESAW_BFLOAT16 ? bfloat16_to_float(bits) : float16_to_float(bits);
}

void store_element(void* values, seesaw_dtype dtype, size_t i, float value) {
  if (dtype == SEESAW_FLOAT32) {
    std::memcpy(static_cast<char*>(values) + i * sizeof(value), &value, sizeof(value));
    return;
  }
  const uint16_t bits =
      dtype == SEESAW_BFLOAT16 ? float_to_bfloat16(value) : float_to_float16(value);
  std::memcpy(static_cast<char*>(values) + i * sizeof(bits), &bits, sizeof(bits));
}

}  // namespace seesaw::tools
