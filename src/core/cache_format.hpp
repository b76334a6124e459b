// Cache formats as values: how a token's record is laid out, and what stands behind a page's rows.
//
// A page holds `page_size` rows of row_bytes (each token's values, and scales that stand with
// them), then, if tail_bytes is not 0, as many tails (each token's scales, apart). Its size is
// rounded up to page_alignment. A record is up to three segments: the latent values, the rotary
// ones, the scales. Column c of the record is latent value c, or rotary value c - d_latent.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.hpp"

namespace seesaw {

enum class ElementType : uint8_t {
  kFloat32,
  kBFloat16,
  kFloat16,
  kInt8,
  kFloat8E4M3,
  kFloat8E8M0,  // scales: powers of two
  kFloat4E2M1   // two a byte, the first in the low half
};

constexpr int bits_of(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return 32;
    case ElementType::kBFloat16:
    case ElementType::kFloat16:
      return 16;
    case ElementType::kInt8:
    case ElementType::kFloat8E4M3:
    case ElementType::kFloat8E8M0:
      return 8;
    case ElementType::kFloat4E2M1:
      return 4;
  }
  return 0;
}

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

// The format of rows of `columns` elements of one dtype, unscaled.
constexpr CacheFormat plain_format(DType dtype, int64_t columns) {
  const auto count = static_cast<int32_t>(columns);
  CacheFormat format;
  format.name = name_of(dtype);
  format.latent = {dtype == DType::kFloat32    ? ElementType::kFloat32
                   : dtype == DType::kBFloat16 ? ElementType::kBFloat16
                                               : ElementType::kFloat16,
                   count, 0, Place::kRow};
  format.row_bytes = static_cast<int32_t>(format.latent.size_bytes());
  return format;
}

// The format with the number `id` of seesaw_format, for records of `columns` values.
CacheFormat cache_format(int32_t id, int64_t columns);

// dtype of a cache tensor that holds the format. All of today's formats are of one element type.
constexpr DType storage_of(int32_t id) { return static_cast<DType>(id); }

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

}  // namespace seesaw
