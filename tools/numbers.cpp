#include "numbers.hpp"

#include <algorithm>
#include <iterator>

#include "error.hpp"
#include "lab/cache_records.hpp"

namespace seesaw::tools {
namespace {

struct Names {
  int32_t dtype;
  const char* short_name;
  const char* contract_name;
  FileDType file;
};

constexpr Names kNames[] = {{SEESAW_BFLOAT16, "bf16", "bfloat16", FileDType::kBF16},
                            {SEESAW_FLOAT16, "fp16", "float16", FileDType::kF16},
                            {SEESAW_FLOAT32, "fp32", "float32", FileDType::kF32},
                            {SEESAW_INT32, "int32", "int32", FileDType::kI32}};

const Names& names_of(int32_t dtype) {
  return *std::find_if(std::begin(kNames), std::end(kNames) - 1,
                       [dtype](const Names& names) { return names.dtype == dtype; });
}

}  // namespace

seesaw_dtype parse_dtype(const std::string& text, const std::string& option) {
  for (const Names& names : kNames) {
    if (names.dtype != SEESAW_INT32 && (text == names.short_name || text == names.contract_name)) {
      return static_cast<seesaw_dtype>(names.dtype);
    }
  }
  throw bad_input(
      {option, "dtype = " + printable(text), "supported: bf16, fp16, fp32", "Choose one of them."});
}

const char* short_name(int32_t dtype) {
  return lab::is_quantised(dtype) ? lab::format_name(dtype) : names_of(dtype).short_name;
}
const char* contract_name(int32_t dtype) {
  return lab::is_quantised(dtype) ? lab::format_name(dtype) : names_of(dtype).contract_name;
}
FileDType file_dtype(int32_t dtype) { return names_of(dtype).file; }

std::string dtypes_text(const seesaw_dense_decode_problem& problem) {
  const std::string q = short_name(problem.q_dtype);
  return problem.q_dtype == problem.kv_format ? q : q + "/" + short_name(problem.kv_format);
}

}  // namespace seesaw::tools
