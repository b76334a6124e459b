#include "lab/cache_records.hpp"

#include "core/cache_format.hpp"

namespace seesaw::lab {
namespace {

RecordView record_of(const CacheFormat& format, const RecordPlace& place) {
  return record_at(format, place.page, place.page_size,
                   row_stride_bytes(format, place.token_stride), place.slot);
}

// The same, to be written.
RecordSlot slot_of(const CacheFormat& format, const RecordPlace& place) {
  const RecordView record = record_of(format, place);
  return {place.page + (record.row - place.page),
          record.tail == nullptr ? nullptr : place.page + (record.tail - place.page)};
}

}  // namespace

bool is_quantised(int32_t kv_format) { return !is_plain(kv_format); }

const char* format_name(int32_t kv_format) { return cache_format(kv_format, 0).name; }

int64_t token_columns(int32_t kv_format, int64_t d_qk) {
  return token_elements(cache_format(kv_format, d_qk));
}

int64_t column_bytes(int32_t kv_format) { return seesaw::size_of(storage_of(kv_format)); }

int64_t page_span(int32_t kv_format, int64_t page_size, int64_t h_kv, int64_t token_stride) {
  const CacheFormat format = cache_format(kv_format, 0);
  return format.tail_bytes > 0 ? format.page_bytes(page_size)
                               : (page_size - 1) * token_stride + h_kv * format.row_bytes;
}

void store_record(int32_t kv_format, const float* values, int32_t scale_rule, float tensor_scale,
                  const RecordPlace& place) {
  const CacheFormat format = cache_format(kv_format, 0);
  write_record(format, values, static_cast<ScaleRule>(scale_rule), nullptr, tensor_scale,
               slot_of(format, place));
}

void load_record(int32_t kv_format, const RecordPlace& place, double tensor_scale, double* values) {
  const CacheFormat format = cache_format(kv_format, 0);
  read_record(format, record_of(format, place), tensor_scale, values);
}

std::byte* scales_of(int32_t kv_format, const RecordPlace& place) {
  const CacheFormat format = cache_format(kv_format, 0);
  const RecordSlot slot = slot_of(format, place);
  return format.scales.count == 0
             ? nullptr
             : (format.scales.place == Place::kRow ? slot.row : slot.tail) + format.scales.offset;
}

int32_t usual_scale_rule(int32_t kv_format) {
  return kv_format == SEESAW_FORMAT_FP8_656 ? SEESAW_SCALES_POWER_OF_TWO : SEESAW_SCALES_EXACT;
}

}  // namespace seesaw::lab
