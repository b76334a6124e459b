// Tokens of a call in host memory: their numbers as float, their angles, their place in the cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/float16.hpp"
#include "ops/append/problem.hpp"
#include "ops/append/rotary.hpp"

namespace seesaw::append {

inline float load(DType dtype, const void* from, int64_t index) {
  switch (dtype) {
    case DType::kBFloat16:
      return to_float(static_cast<const BFloat16*>(from)[index]);
    case DType::kFloat16:
      return to_float(static_cast<const Float16*>(from)[index]);
    default:
      return static_cast<const float*>(from)[index];
  }
}

// Row `row` of a tensor [rows, ...].
inline std::byte* row_of(const Tensor& tensor, int64_t row) {
  return static_cast<std::byte*>(tensor.data) + row * tensor.stride[0] * element_bytes(tensor);
}

// The angles of a token's position.
struct Angles {
  const void* row = nullptr;  // of cos_sin
  DType dtype = DType::kFloat32;
  int64_t frequencies = 0;

  Pair turned(const Pair& pair, int64_t frequency) const {
    return rotate(pair, load(dtype, row, frequency), load(dtype, row, frequencies + frequency));
  }
};

inline Angles angles_of(const Problem& problem, const Args& args, int64_t token) {
  if (!problem.rotates()) {
    return {};
  }
  const int64_t position =
      static_cast<const int64_t*>(args.positions.data)[token * args.positions.stride[0]];
  return {row_of(args.cos_sin, position), dtype_of(args.cos_sin), problem.d_rope / 2};
}

inline int64_t slot_of(const Args& args, int64_t token) {
  return static_cast<const int64_t*>(args.slot_mapping.data)[token * args.slot_mapping.stride[0]];
}

// Where the record of a slot goes.
inline RecordSlot record_of(const Problem& problem, const CacheFormat& format, const Args& args,
                            int64_t slot) {
  std::byte* page = row_of(args.kv_cache, slot / problem.page_size);
  const int64_t place = slot % problem.page_size;
  const int64_t row_stride = row_stride_bytes(format, problem.kv_token_stride);
  return {page + place * row_stride,
          page + problem.page_size * format.row_bytes + place * format.tail_bytes};
}

inline float kv_scale_of(const Args& args) {
  return args.kv_scale.data == nullptr ? 1.0F : *static_cast<const float*>(args.kv_scale.data);
}

// A token's given scales, or null.
inline const float* given_scales_of(const Problem& problem, const Args& args, int64_t token) {
  return problem.scale_rule() == ScaleRule::kGiven
             ? reinterpret_cast<const float*>(row_of(args.scales, token))
             : nullptr;
}

}  // namespace seesaw::append
