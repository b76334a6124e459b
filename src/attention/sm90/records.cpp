#include "attention/sm90/records.hpp"

#include <bit>
#include <limits>
#include <numeric>

#include "base/math.hpp"

namespace seesaw::attention::sm90 {
namespace {

// What a box's scales are, and where. A lane that converts has kLaneColumns columns under one.
bool set_scales(const CacheFormat& format, RecordBoxes* boxes) {
  constexpr int32_t kLaneColumns = 16;
  const Segment& scales = format.scales;
  if (scales.count == 0) {
    boxes->scales = ScaleKind::kNone;
    boxes->group_shift = 16;
    return true;
  }
  boxes->scales_in_tail = scales.place == Place::kTail;
  boxes->scale_offset = scales.offset;
  if (scales.type == ElementType::kFloat32) {
    boxes->scales = ScaleKind::kFloat;
  } else if (scales.type == ElementType::kFloat8E8M0) {
    boxes->scales = ScaleKind::kE8M0;
  } else {
    return false;
  }
  constexpr int32_t kWord = sizeof(uint32_t);
  boxes->scale_words = ceil_div(scales.count * bits_of(scales.type) / 8, kWord);
  const int32_t step = boxes->scales_in_tail ? format.tail_bytes : format.row_bytes;
  const auto group = static_cast<uint32_t>(format.scale_group);
  boxes->group_shift = std::countr_zero(std::bit_ceil(group));
  const bool one_each = scales.count == 1 && format.scale_group >= format.scaled_columns;
  return boxes->scale_words <= kScaleWords && scales.offset % kWord == 0 && step % kWord == 0 &&
         scales.offset + boxes->scale_words * kWord <= step &&
         (one_each || (std::has_single_bit(group) && format.scale_group >= kLaneColumns));
}

}  // namespace

std::optional<RowNumbers> row_numbers_of(const Stream& stream, int64_t h_kv) {
  const int64_t head_stride = h_kv > 1 ? stream.head_stride_bytes : 0;
  const int64_t unit =
      std::gcd(std::gcd(stream.page_stride_bytes, stream.row_stride_bytes), head_stride);
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();  // which says that there is none
  if (stream.pages > 0 && stream.page_stride_bytes / unit > (kMost - 1) / stream.pages) {
    return std::nullopt;
  }
  return RowNumbers{.unit_bytes = static_cast<uint32_t>(unit),
                    .page = static_cast<uint32_t>(stream.page_stride_bytes / unit),
                    .row = static_cast<uint32_t>(stream.row_stride_bytes / unit),
                    .head = static_cast<uint32_t>(head_stride / unit)};
}

bool copies(const CacheFormat& format, DType q_type) {
  return is_plain(format.id) && static_cast<DType>(format.id) == q_type;
}

std::optional<RecordBoxes> boxes_of(const CacheFormat& format) {
  RecordBoxes boxes = {};
  const Segment& latent = format.latent;
  const Segment& rotary = format.rotary;
  if (latent.type != ElementType::kFloat8E4M3 || latent.offset != 0 ||
      latent.count % kBoxColumns != 0 || rotary.count != kBoxColumns) {
    return std::nullopt;
  }
  boxes.narrow = latent.count / kBoxColumns;
  if (rotary.type == ElementType::kFloat8E4M3) {
    if (rotary.offset != latent.count) {
      return std::nullopt;
    }
    ++boxes.narrow;
  } else if (rotary.type == ElementType::kBFloat16 && rotary.offset % kChunkBytes == 0) {
    boxes.wide_offset = rotary.offset;
  } else {
    return std::nullopt;
  }
  // A box of 16-bit numbers has no scale.
  if (format.scales.count > 0 && format.scaled_columns != boxes.narrow * kBoxColumns) {
    return std::nullopt;
  }
  return set_scales(format, &boxes) ? std::optional(boxes) : std::nullopt;
}

}  // namespace seesaw::attention::sm90
