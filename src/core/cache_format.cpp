#include "core/cache_format.hpp"

#include <cstring>

#include "base/float16.hpp"
#include "base/float8.hpp"

namespace seesaw {
namespace {

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// Calls convert(i) for every element; one loop a type, so that each vectorises.
template <typename Convert>
void for_each(int32_t count, double* values, Convert convert) {
  for (int32_t i = 0; i < count; ++i) {
    values[i] = static_cast<double>(convert(i));
  }
}

void read_segment(const Segment& segment, const RecordView& record, double* values) {
  const std::byte* from =
      (segment.place == Place::kRow ? record.row : record.tail) + segment.offset;
  const auto byte = [from](int32_t i) { return static_cast<uint8_t>(from[i]); };
  switch (segment.type) {
    case ElementType::kFloat32:
      return for_each(segment.count, values, [&](int32_t i) { return load<float>(from + 4 * i); });
    case ElementType::kBFloat16:
      return for_each(segment.count, values,
                      [&](int32_t i) { return to_float(load<BFloat16>(from + 2 * i)); });
    case ElementType::kFloat16:
      return for_each(segment.count, values,
                      [&](int32_t i) { return to_float(load<Float16>(from + 2 * i)); });
    case ElementType::kInt8:
      return for_each(segment.count, values,
                      [&](int32_t i) { return static_cast<int8_t>(byte(i)); });
    case ElementType::kFloat8E4M3:
      return for_each(segment.count, values, [&](int32_t i) { return from_e4m3(byte(i)); });
    case ElementType::kFloat8E8M0:
      return for_each(segment.count, values, [&](int32_t i) { return from_e8m0(byte(i)); });
    case ElementType::kFloat4E2M1:
      return for_each(segment.count, values, [&](int32_t i) {
        return from_e2m1(static_cast<uint8_t>(i % 2 == 0 ? byte(i / 2) & 0xF : byte(i / 2) >> 4));
      });
  }
}

constexpr int32_t kMostScales = 128;  // of a record: read in pieces of this many

}  // namespace

CacheFormat cache_format(int32_t id, int64_t columns) {
  return plain_format(storage_of(id), columns);
}

void read_record(const CacheFormat& format, const RecordView& record, double tensor_scale,
                 double* values) {
  read_segment(format.latent, record, values);
  read_segment(format.rotary, record, values + format.latent.count);
  double scales[kMostScales];
  for (int32_t first = 0; first < format.scales.count; first += kMostScales) {
    Segment part = format.scales;
    part.offset += first * bits_of(part.type) / 8;
    part.count = part.count - first < kMostScales ? part.count - first : kMostScales;
    read_segment(part, record, scales);
    for (int32_t i = 0; i < part.count * format.scale_group; ++i) {
      const int32_t column = first * format.scale_group + i;
      if (column >= format.scaled_columns) {
        break;
      }
      values[column] *= scales[i / format.scale_group];
    }
  }
  if (format.tensor_scale) {
    for (int32_t column = 0; column < format.columns(); ++column) {
      values[column] *= tensor_scale;
    }
  }
}

}  // namespace seesaw
