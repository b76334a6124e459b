#include "attention/sm90/records.hpp"

#include <limits>
#include <numeric>

namespace seesaw::attention::sm90 {
namespace {

constexpr int32_t kWarpColumns = kCopyBoxes * kBoxColumns;  // of a producer warp

// The word of scales that a warp reads for its columns, and how far the next warp's is.
bool set_scales(const CacheFormat& format, RecordBoxes* boxes) {
  const Segment& scales = format.scales;
  boxes->scales_in_tail = scales.place == Place::kTail;
  boxes->scale_offset = scales.offset;
  if (scales.count == 0) {
    boxes->scales = ScaleWord::kNone;
    return true;
  }
  if (scales.type == ElementType::kFloat32) {
    boxes->scales = ScaleWord::kFloat;
    boxes->scale_step = scales.count == 1 ? 0 : static_cast<int32_t>(sizeof(float));
    return scales.count == 1 ? format.scale_group >= format.scaled_columns
                             : format.scale_group == kWarpColumns;
  }
  if (scales.type != ElementType::kFloat8E8M0) {
    return false;
  }
  boxes->scales = format.scale_group == 64 ? ScaleWord::kBytesOf64 : ScaleWord::kBytesOf32;
  boxes->scale_step = kWarpColumns / format.scale_group;
  return format.scale_group == 64 || format.scale_group == 32;
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
