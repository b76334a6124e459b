// Element types by the names that people type, and their conversion from and to float.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "io/safetensors.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::tools {

// "bf16", "fp16" or "fp32" (long names too); throws Failure naming `option` for anything else.
seesaw_dtype parse_dtype(const std::string& text, const std::string& option);
const char* short_name(seesaw_dtype dtype);     // "bf16"
const char* contract_name(seesaw_dtype dtype);  // "bfloat16", as in messages and results
size_t size_of(seesaw_dtype dtype);             // bytes
FileDType file_dtype(seesaw_dtype dtype);

float bfloat16_to_float(uint16_t bits);
float float16_to_float(uint16_t bits);
uint16_t float_to_bfloat16(float value);  // nearest even
uint16_t float_to_float16(float value);   // nearest even

// values[i] as float, for any floating dtype.
float load_element(const void* values, seesaw_dtype dtype, size_t i);
void store_element(void* values, seesaw_dtype dtype, size_t i, float value);

}  // namespace seesaw::tools
