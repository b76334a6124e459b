#include "core/cache_format.hpp"

#include <cstring>

#include "base/float16.hpp"

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

template <typename T>
void store(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof(value));
}

std::byte* bytes_of(const Segment& segment, const RecordSlot& record) {
  return (segment.place == Place::kRow ? record.row : record.tail) + segment.offset;
}

constexpr bool is_scaled_type(ElementType type) {
  return type == ElementType::kInt8 || type == ElementType::kFloat8E4M3 ||
         type == ElementType::kFloat4E2M1;
}

// Element i of a segment, as its type's bits.
void store_bits(const Segment& segment, const RecordSlot& record, int32_t i, uint32_t bits) {
  std::byte* to = bytes_of(segment, record);
  switch (bits_of(segment.type)) {
    case 32:
      return store(bits, to + 4 * i);
    case 16:
      return store(static_cast<uint16_t>(bits), to + 2 * i);
    case 8:
      return store(static_cast<uint8_t>(bits), to + i);
    default: {  // two a byte
      const auto old = static_cast<uint32_t>(to[i / 2]);
      to[i / 2] =
          static_cast<std::byte>(i % 2 == 0 ? (old & 0xF0u) | bits : (old & 0xFu) | bits << 4);
    }
  }
}

uint32_t plain_bits(float value, ElementType type) {
  return type == ElementType::kFloat32    ? bits_of(value)
         : type == ElementType::kBFloat16 ? from_float<BFloat16>(value).bits
                                          : from_float<Float16>(value).bits;
}

// Columns [begin, end) of the record with one scale, those of plain types as they are.
struct Group {
  const CacheFormat& format;
  const float* values;
  int32_t begin;
  int32_t end;

  const Segment& segment_of(int32_t column) const {
    return column < format.latent.count ? format.latent : format.rotary;
  }
  int32_t index_of(int32_t column) const {
    return column < format.latent.count ? column : column - format.latent.count;
  }

  // All of a group's scaled columns have the type of its first.
  ElementType type() const { return segment_of(begin).type; }

  StoredScale scale(ScaleRule rule, const float* given) const {
    float greatest = 0.0F;
    bool nan = false;
    for (int32_t c = begin; c < end; ++c) {
      const float m = finite_magnitude(values[c]);
      greatest = m > greatest ? m : greatest;
      nan = nan || float8::is_nan(values[c]);
    }
    if ((nan && !has_nan(type())) || (rule == ScaleRule::kGiven && !is_scale(*given))) {
      return nan_scale(format.scales.type);
    }
    return rule == ScaleRule::kGiven ? store_scale(*given, format.scales.type)
                                     : computed_scale(greatest, type(), format.scales.type, rule);
  }

  int64_t store(float scale, const RecordSlot& record) const {
    int64_t saturated = 0;
    for (int32_t c = begin; c < end; ++c) {
      const Segment& segment = segment_of(c);
      if (!is_scaled_type(segment.type)) {
        store_bits(segment, record, index_of(c), plain_bits(values[c], segment.type));
        continue;
      }
      store_bits(segment, record, index_of(c), quantize(values[c], scale, segment.type));
      saturated += saturates(values[c], scale, segment.type) ? 1 : 0;
    }
    return saturated;
  }
};

}  // namespace

int64_t write_record(const CacheFormat& format, const float* values, ScaleRule rule,
                     const float* given, float tensor_scale, const RecordSlot& record) {
  int64_t saturated = 0;
  int32_t column = 0;
  for (int32_t g = 0; g < format.scales.count; ++g) {
    const Group group{format, values, column, column + format.scale_group};
    const StoredScale scale = group.scale(rule, given == nullptr ? nullptr : given + g);
    store_bits(format.scales, record, g, scale.bits);
    saturated += group.store(scale.value, record);
    column = group.end;
  }
  return saturated + Group{format, values, column, format.columns()}.store(tensor_scale, record);
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
