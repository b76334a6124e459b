// Loops over one contiguous row, by Google Highway, for the instruction set that the machine has.
#pragma once

#include <cstdint>

#include "baselines/view.hpp"

namespace seesaw::baselines::cpu {

struct SoftmaxRow {
  float* scores = nullptr;  // `visible` of them are read and overwritten
  int64_t visible = 0;      // entries [0, visible) may be seen, the rest gets 0
  int64_t count = 0;
  const uint8_t* mask = nullptr;  // 0 hides; nullptr: none
  int64_t mask_stride = 0;
  float scale = 1.0F;
  void* probabilities = nullptr;  // `count` of `dtype`; for float32 may be `scores`
  DType dtype = DType::kFloat32;
};

// softmax(scale * scores) of the visible entries that the mask lets through; the others get 0. If
// there is a NaN or +inf among these scaled scores, or nothing but -inf, they are all NaN.
void softmax_row(const SoftmaxRow& row);

// Converts `count` elements between float32, bfloat16 and float16, to nearest even.
void convert_row(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count);

}  // namespace seesaw::baselines::cpu
