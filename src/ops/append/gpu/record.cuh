// A warp writes the record of a token: where it goes, and segments of plain types. The numbers are
// those of ../README.md.
#pragma once

#include <cstring>
#include <type_traits>

#include "ops/append/gpu/tokens.cuh"

namespace seesaw::append::gpu {

struct RecordAt {
  uint8_t* row;
  uint8_t* tail;

  __device__ uint8_t* segment(const Segment& segment) const {
    return (segment.place == Place::kRow ? row : tail) + segment.offset;
  }
};

__device__ inline RecordAt record_at(const AppendParams& p, int64_t slot) {
  const seesaw::gpu::PageAndToken at = p.page_size.place_of(slot);
  uint8_t* const begin = p.cache + at.page * p.page_stride_bytes;
  return {begin + at.token * p.row_stride_bytes, begin + p.tails + at.token * p.record.tail_bytes};
}

template <Access kAccess, int kCount, typename To, typename From>
__device__ void convert(const From* elements, void* to) {
  To converted[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    converted[i] = rounded<To>(float_from(elements[i]));
  }
  store<kAccess, kCount>(converted, to);
}

// kCount elements as elements of `type`, from byte `to`.
template <Access kAccess, int kCount, typename From>
__device__ void store_as(ElementType type, const From* elements, uint8_t* to) {
  switch (type) {
    case ElementType::kBFloat16:
      return convert<kAccess, kCount, __nv_bfloat16>(elements, to);
    case ElementType::kFloat16:
      return convert<kAccess, kCount, __half>(elements, to);
    default:
      return convert<kAccess, kCount, float>(elements, to);
  }
}

template <typename T>
__device__ constexpr ElementType type_of();
template <>
__device__ constexpr ElementType type_of<float>() {
  return ElementType::kFloat32;
}
template <>
__device__ constexpr ElementType type_of<__nv_bfloat16>() {
  return ElementType::kBFloat16;
}
template <>
__device__ constexpr ElementType type_of<__half>() {
  return ElementType::kFloat16;
}

// [4] A segment of elements as they arrived: those of the same type keep their bits. A lane has the
// first kAhead units of it in registers before any is written, so that one latency serves them all.
// kFits: there are no more.
template <Access kAccess, typename T, int kAhead, bool kFits = false>
struct SegmentCopy {
  static constexpr int kCount = kAccess == Access::kUnits ? 8 : 1;  // elements of a unit
  static constexpr int kStep = kLanes * kCount;
  // Units stay words, so that nothing takes them apart that is only copied.
  using Stored = std::conditional_t<kAccess == Access::kUnits, uint32_t, T>;
  static constexpr int kStored = kCount * static_cast<int>(sizeof(T)) / sizeof(Stored);

  const Segment& segment;
  const T* from;
  int lane;
  Stored units[kAhead][kStored];

  __device__ void load_from(int32_t begin) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int32_t column = begin + i * kStep + lane * kCount;
      if (column < segment.count) {
        load<kAccess, kStored>(reinterpret_cast<const Stored*>(from + column), units[i]);
      }
    }
  }

  // When load_from(0) has been called.
  __device__ void write(uint8_t* to) {
    write_from(0, to);
    for (int32_t begin = kAhead * kStep; !kFits && begin < segment.count; begin += kAhead * kStep) {
      load_from(begin);
      write_from(begin, to);
    }
  }

 private:
  __device__ void write_from(int32_t begin, uint8_t* to) {
    const int32_t element_bytes = bits_of(segment.type) / 8;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int32_t column = begin + i * kStep + lane * kCount;
      if (column < segment.count) {
        uint8_t* const at = to + column * element_bytes;
        if (segment.type == type_of<T>()) {
          store<kAccess, kStored>(units[i], at);
        } else {
          T elements[kCount];
          memcpy(elements, units[i], sizeof(elements));
          store_as<kAccess, kCount>(segment.type, elements, at);
        }
      }
    }
  }
};

// [2][4] The rotary key into a plain segment, a lane a pair.
template <typename T>
__device__ void turn_segment(const AppendParams& p, int64_t token, const T* from, uint8_t* to,
                             int lane) {
  const Angles angles = angles_of(p.rotary, token);
  const ElementType type = p.record.rotary.type;
  const int32_t element_bytes = bits_of(type) / 8;
  for (int32_t pair = lane; pair < p.rotary.d_rope / 2; pair += kLanes) {
    const PairColumns at = columns_of_pair(p.rotary.rotary, p.rotary.d_rope, pair);
    const Pair turned = angles.turned({float_from(from[at.x]), float_from(from[at.y])}, pair);
    store_as<Access::kElements, 1>(type, &turned.x, to + at.x * element_bytes);
    store_as<Access::kElements, 1>(type, &turned.y, to + at.y * element_bytes);
  }
}

// [2][4] A rotary key that is stored in a plain type: as it arrived, or turned.
template <Access kAccess, typename T, int kAhead = 1, bool kFits = false>
struct RopeCopy {
  const AppendParams& p;
  int64_t token;
  SegmentCopy<kAccess, T, kAhead, kFits> copy;

  __device__ bool turns() const {
    return p.rotary.rotary != SEESAW_ROTARY_NONE && p.record.rotary.count > 0;
  }

  __device__ void load() {
    if (!turns()) {
      copy.load_from(0);
    }
  }

  __device__ void write(uint8_t* to) {
    if (turns()) {
      turn_segment(p, token, copy.from, to, copy.lane);
    } else {
      copy.write(to);
    }
  }
};

}  // namespace seesaw::append::gpu
