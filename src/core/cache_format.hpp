// Cache formats as values: how a token's record is laid out, and what stands behind a page's rows.
//
// A page holds `page_size` rows of row_bytes (each token's values, and scales that stand with
// them), then, if tail_bytes is not 0, as many tails (each token's scales, apart). Its size is
// rounded up to page_alignment. A record is up to three segments: the latent values, the rotary
// ones, the scales. Column c of the record is latent value c, or rotary value c - d_latent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.hpp"
#include "core/quantize.hpp"

namespace seesaw {

enum class Place : uint8_t { kRow, kTail };  // in the token's row, or in its tail behind the rows

// `count` elements of one type, from byte `offset` of the row or tail.
struct Segment {
  ElementType type = ElementType::kFloat32;
  int32_t count = 0;  // 0: the record has no such part
  int32_t offset = 0;
  Place place = Place::kRow;

  constexpr int64_t size_bytes() const { return int64_t{count} * bits_of(type) / 8; }
};

struct CacheFormat {
  const char* name = "";
  int32_t id = 0;         // seesaw_format
  const char* help = "";  // whose it is
  Segment latent = {};
  Segment rotary = {};
  Segment scales = {};
  int32_t scaled_columns = 0;  // columns that are multiplied by a scale; the first of the record
  int32_t scale_group = 1;     // neighbouring columns that share one: column c has scale c / group
  bool tensor_scale = false;   // one more scale, of the whole cache, given with the call
  int32_t row_bytes = 0;
  int32_t tail_bytes = 0;
  int32_t page_alignment = 1;

  constexpr int32_t columns() const { return latent.count + rotary.count; }
  constexpr int64_t page_bytes(int64_t page_size) const {
    const int64_t packed = page_size * (row_bytes + tail_bytes);
    return (packed + page_alignment - 1) / page_alignment * page_alignment;
  }
};

// The format of rows of elements of one dtype, unscaled.
constexpr CacheFormat plain_format(DType dtype, int64_t d_latent, int64_t d_rope = 0) {
  const ElementType type = dtype == DType::kFloat32    ? ElementType::kFloat32
                           : dtype == DType::kBFloat16 ? ElementType::kBFloat16
                                                       : ElementType::kFloat16;
  CacheFormat format;
  format.name = name_of(dtype);
  format.id = static_cast<int32_t>(dtype);
  format.latent = {type, static_cast<int32_t>(d_latent), 0, Place::kRow};
  const auto latent_bytes = static_cast<int32_t>(format.latent.size_bytes());
  format.rotary = {type, static_cast<int32_t>(d_rope), latent_bytes, Place::kRow};
  format.row_bytes = static_cast<int32_t>(latent_bytes + format.rotary.size_bytes());
  return format;
}

// The formats that are no dtype's, as published; docs/cache-formats.md draws them from here.
inline constexpr CacheFormat kByteFormats[] = {
    {.name = "fp8_656",
     .id = SEESAW_FORMAT_FP8_656,
     .help = "DeepSeek-V3.2 and GLM-5: a scale for 128 latent values, in the row",
     .latent = {ElementType::kFloat8E4M3, 512, 0},
     .rotary = {ElementType::kBFloat16, 64, 528},
     .scales = {ElementType::kFloat32, 4, 512},
     .scaled_columns = 512,
     .scale_group = 128,
     .row_bytes = 656},
    {.name = "fp8_584",
     .id = SEESAW_FORMAT_FP8_584,
     .help = "DeepSeek-V4: a scale for 64 latent values, and a byte of padding, behind the page",
     .latent = {ElementType::kFloat8E4M3, 448, 0},
     .rotary = {ElementType::kBFloat16, 64, 448},
     .scales = {ElementType::kFloat8E8M0, 7, 0, Place::kTail},
     .scaled_columns = 448,
     .scale_group = 64,
     .row_bytes = 576,
     .tail_bytes = 8,
     .page_alignment = 576},
    {.name = "fp8_576",
     .id = SEESAW_FORMAT_FP8_576,
     .help = "dense engines: one scale of the whole cache, given with the call",
     .latent = {ElementType::kFloat8E4M3, 512, 0},
     .rotary = {ElementType::kFloat8E4M3, 64, 512},
     .tensor_scale = true,
     .row_bytes = 576},
    {.name = "fp8_576_token",
     .id = SEESAW_FORMAT_FP8_576_TOKEN,
     .help = "as fp8_576, with a scale a token, behind the page",
     .latent = {ElementType::kFloat8E4M3, 512, 0},
     .rotary = {ElementType::kFloat8E4M3, 64, 512},
     .scales = {ElementType::kFloat32, 1, 0, Place::kTail},
     .scaled_columns = 576,
     .scale_group = 576,
     .row_bytes = 576,
     .tail_bytes = 4},
    {.name = "fp8_528",
     .id = SEESAW_FORMAT_FP8_528,
     .help = "DeepSeek-V4.1: a scale for 32 values, rotary ones included, behind the page",
     .latent = {ElementType::kFloat8E4M3, 448, 0},
     .rotary = {ElementType::kFloat8E4M3, 64, 448},
     .scales = {ElementType::kFloat8E8M0, 16, 0, Place::kTail},
     .scaled_columns = 512,
     .scale_group = 32,
     .row_bytes = 512,
     .tail_bytes = 16,
     .page_alignment = 512},
    {.name = "fp4_288",
     .id = SEESAW_FORMAT_FP4_288,
     .help = "DeepSeek-V4.1's extra cache: a scale for 16 values, behind the page",
     .latent = {ElementType::kFloat4E2M1, 448, 0},
     .rotary = {ElementType::kFloat4E2M1, 64, 224},
     .scales = {ElementType::kFloat8E4M3, 32, 0, Place::kTail},
     .scaled_columns = 512,
     .scale_group = 16,
     .row_bytes = 256,
     .tail_bytes = 32,
     .page_alignment = 512},
    {.name = "indexer_132",
     .id = SEESAW_FORMAT_INDEXER_132,
     .help = "keys of the lightning indexer: a scale a token, behind the page",
     .latent = {ElementType::kFloat8E4M3, 128, 0},
     .scales = {ElementType::kFloat32, 1, 0, Place::kTail},
     .scaled_columns = 128,
     .scale_group = 128,
     .row_bytes = 128,
     .tail_bytes = 4},
    {.name = "int8_644",
     .id = SEESAW_FORMAT_INT8_644,
     .help = "for CPUs: int8 latents with a scale a token, behind the page",
     .latent = {ElementType::kInt8, 512, 0},
     .rotary = {ElementType::kBFloat16, 64, 512},
     .scales = {ElementType::kFloat32, 1, 0, Place::kTail},
     .scaled_columns = 512,
     .scale_group = 512,
     .row_bytes = 640,
     .tail_bytes = 4},
};
constexpr std::span<const CacheFormat> byte_formats() { return kByteFormats; }

// Whether the number `id` of seesaw_format is a dtype's.
constexpr bool is_plain(int32_t id) { return is_dtype(id); }

// The format with the number `id` of seesaw_format, for records of `columns` values. (A byte format
// has the columns that it has.)
constexpr CacheFormat cache_format(int32_t id, int64_t columns) {
  for (const CacheFormat& format : kByteFormats) {
    if (format.id == id) {
      return format;
    }
  }
  return plain_format(static_cast<DType>(id), columns);
}

// dtype of a cache tensor that holds the format.
constexpr DType storage_of(int32_t id) {
  return is_plain(id) ? static_cast<DType>(id) : DType::kUInt8;
}

// The last dimension of a cache tensor that holds the format.
constexpr int64_t token_elements(const CacheFormat& format) {
  return (format.row_bytes + format.tail_bytes) / size_of(storage_of(format.id));
}

// Bytes from a token's row to the next in a page of a tensor with this token stride. Rows with
// tails are packed: the tensor's shape and stride count the tails in, which lie elsewhere.
constexpr int64_t row_stride_bytes(const CacheFormat& format, int64_t token_stride) {
  return format.tail_bytes > 0 ? format.row_bytes : token_stride * size_of(storage_of(format.id));
}

// A token's record: its row, and its tail where the format has one.
struct RecordView {
  const std::byte* row = nullptr;
  const std::byte* tail = nullptr;
};

// The record of token `token` of a page of `page_size` rows that begins at `page`, its rows
// `row_stride_bytes` apart.
constexpr RecordView record_at(const CacheFormat& format, const std::byte* page, int64_t page_size,
                               int64_t row_stride_bytes, int64_t token) {
  return {page + token * row_stride_bytes,
          format.tail_bytes == 0 ? nullptr
                                 : page + page_size * format.row_bytes + token * format.tail_bytes};
}

// Reads columns [0, format.columns()) as double, exactly: element times its scales.
void read_record(const CacheFormat& format, const RecordView& record, double tensor_scale,
                 double* values);

// Where a record is written.
struct RecordSlot {
  std::byte* row = nullptr;
  std::byte* tail = nullptr;
};

// Stores `values` [format.columns()] as quantize.hpp says. given: [format.scales.count] scales,
// read only by ScaleRule::kGiven. Bytes of padding are left alone. Returns how many finite or
// infinite values were too large for their scale.
int64_t write_record(const CacheFormat& format, const float* values, ScaleRule rule,
                     const float* given, float tensor_scale, const RecordSlot& record);

}  // namespace seesaw
