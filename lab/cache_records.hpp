// Quantised caches: what a format's tokens take, how values become records, and what records say.
// By the core's own definition of the formats, which kernels share no code with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "seesaw/seesaw.h"

namespace seesaw::lab {

// Whether a cache of this seesaw_format holds bytes, and not elements of a dtype.
bool is_quantised(int32_t kv_format);

// Its name in the table of formats.
const char* format_name(int32_t kv_format);

// Columns of a token in a cache tensor, and bytes of one. d_qk: of plain formats.
int64_t token_columns(int32_t kv_format, int64_t d_qk);
int64_t column_bytes(int32_t kv_format);
inline int64_t token_bytes(int32_t kv_format, int64_t d_qk) {
  return token_columns(kv_format, d_qk) * column_bytes(kv_format);
}

// Where a quantised cache has a token's record.
struct RecordPlace {
  std::byte* page = nullptr;  // first byte of the page, of the token's KV head
  int64_t page_size = 0;
  int64_t token_stride = 0;  // of the tensor, bytes
  int64_t slot = 0;          // of the token in its page
};

// Bytes that a page of a quantised cache spans.
int64_t page_span(int32_t kv_format, int64_t page_size, int64_t h_kv, int64_t token_stride);

// values: [columns of the format]. scale_rule: a seesaw_scale_rule that computes scales.
void store_record(int32_t kv_format, const float* values, int32_t scale_rule, float tensor_scale,
                  const RecordPlace& place);
void load_record(int32_t kv_format, const RecordPlace& place, double tensor_scale, double* values);

// First byte of the record's scales; nullptr if it has none.
std::byte* scales_of(int32_t kv_format, const RecordPlace& place);

// How the publisher of the format computes scales.
int32_t usual_scale_rule(int32_t kv_format);

}  // namespace seesaw::lab
