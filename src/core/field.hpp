// Tables that describe the plain structs of the C ABI field by field. They serve the ABI's checks,
// the command line's flags, explain's and describe's JSON, tuning keys, case files and Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "seesaw/seesaw.h"

namespace seesaw {

enum class FieldType : uint8_t {
  kInt64,
  kInt32,
  kFloat32,
  kDType,   // int32: a seesaw_dtype among `choices`
  kFormat,  // int32: a seesaw_format among `choices`
  kChoice,  // int32: any other enumeration
  kText,    // const char*, may be NULL
  kDevice   // seesaw_device
};

// A value of a kDType, kFormat or kChoice field and its name in text.
struct Choice {
  const char* name;
  int32_t value;
};

// Whether a field is part of what a tuning file's entry must match: with its value, or with the
// least power of two that is no smaller (for maxima, which vary from call to call).
enum class Match : uint8_t { kNot, kValue, kClass };

struct Field {
  const char* name;
  FieldType type;
  size_t offset;      // bytes from the struct's beginning
  int64_t least = 0;  // numbers: smallest and largest value
  int64_t most = INT32_MAX;
  int64_t fallback = 0;  // stands for 0 = not given; 0: there is none
  std::span<const Choice> choices = {};
  // Where tensors tell the value: "" = the dimension of this name in a shape of the arguments;
  // "b" = at least the dimension b; "q.dtype"; "kv_cache.stride.0"; "sinks.given" = 1 where this
  // tensor or number of a call is given, and where it may be; "-" = nowhere.
  const char* from = "";
  const char* flag = "";  // of the command line: "--heads"; "" = none
  Match match = Match::kNot;
  const char* help = "";
};

// Whole numbers of a struct, by field.
inline int64_t get_number(const Field& field, const void* from) {
  const char* at = static_cast<const char*>(from) + field.offset;
  if (field.type == FieldType::kInt64) {
    int64_t value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  int32_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

inline void set_number(const Field& field, int64_t value, void* to) {
  char* at = static_cast<char*>(to) + field.offset;
  if (field.type == FieldType::kInt64) {
    std::memcpy(at, &value, sizeof(value));
    return;
  }
  const auto narrow = static_cast<int32_t>(value);
  std::memcpy(at, &narrow, sizeof(narrow));
}

constexpr bool has_choices(const Field& field) {
  return field.type == FieldType::kDType || field.type == FieldType::kFormat ||
         field.type == FieldType::kChoice;
}

// Whether get_number and set_number know the field.
constexpr bool is_number(const Field& field) {
  return field.type == FieldType::kInt64 || field.type == FieldType::kInt32 || has_choices(field);
}

constexpr size_t size_of(FieldType type) {
  return type == FieldType::kInt64 || type == FieldType::kText || type == FieldType::kDevice ? 8
                                                                                             : 4;
}

// Choices that operations share.
inline constexpr Choice kNoOrYes[] = {{"no", 0}, {"yes", 1}};
inline constexpr Choice kFloatTypes[] = {
    {"float32", SEESAW_FLOAT32}, {"bfloat16", SEESAW_BFLOAT16}, {"float16", SEESAW_FLOAT16}};
inline constexpr Choice kLseBases[] = {{"e", SEESAW_LSE_NATURAL}, {"2", SEESAW_LSE_BASE2}};
inline constexpr Choice kEmptyLse[] = {{"-inf", SEESAW_EMPTY_LSE_NEGATIVE_INFINITY},
                                       {"+inf", SEESAW_EMPTY_LSE_POSITIVE_INFINITY}};

}  // namespace seesaw
