// Element types by the names that people type, and of files.
#pragma once

#include <string>

#include "io/safetensors.hpp"
#include "lab/elements.hpp"
#include "laboratory.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::tools {

using lab::size_of;  // beside that of files' types

// "bf16", "fp16" or "fp32" (long names too); throws Failure naming `option` for anything else.
seesaw_dtype parse_dtype(const std::string& text, const std::string& option);
const char* short_name(int32_t dtype);     // "bf16"
const char* contract_name(int32_t dtype);  // "bfloat16", as in messages and results
FileDType file_dtype(int32_t dtype);

// "bf16", or "bf16/fp16" if the cache has another than the queries.
std::string dtypes_text(const seesaw_dense_decode_problem& problem);

}  // namespace seesaw::tools
