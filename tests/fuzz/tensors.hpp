// Tensors and caches that cases are made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "input.hpp"
#include "memory.hpp"

namespace seesaw::fuzz {

// A tensor of a call, and what its memory holds.
struct Place {
  seesaw_tensor* tensor;
  TensorMemory::Fill fill;
};

// What cases answer unless they know better.
struct CaseDefaults {
  // Whether a run that is accepted writes every element of its results.
  bool writes_all() const { return true; }
  // Whether an accepted call keeps what no check can see.
  bool is_right() const { return true; }
  // Lists of tensors, which lie beside the arguments.
  void damage_lists(Input&) {}
  void place_lists(Input&) {}
};

inline seesaw_tensor make_tensor(int32_t dtype, std::initializer_list<int64_t> shape,
                                 int64_t gap = 0) {
  seesaw_tensor tensor{};
  tensor.rank = static_cast<int32_t>(shape.size());
  tensor.dtype = dtype;
  tensor.device = {SEESAW_CPU, 0};
  std::copy(shape.begin(), shape.end(), tensor.shape);
  int64_t stride = 1;
  for (int32_t i = tensor.rank - 1; i >= 0; --i) {
    tensor.stride[i] = stride;
    stride = stride * tensor.shape[i] + gap;
  }
  return tensor;
}

inline int32_t float_type(Input& input) {
  constexpr int32_t kTypes[] = {SEESAW_BFLOAT16, SEESAW_FLOAT32, SEESAW_FLOAT16};
  return kTypes[input.below(3)];
}

// A small cache in a format: of bytes, or of columns of a dtype.
struct SmallCache {
  int32_t format;
  int64_t d_latent;
  int64_t d_rope;
  int64_t token_elements;
  int32_t dtype;
};
inline SmallCache small_cache(Input& input) {
  constexpr SmallCache kOfBytes[] = {{SEESAW_FORMAT_FP8_656, 512, 64, 656, SEESAW_UINT8},
                                     {SEESAW_FORMAT_FP8_584, 448, 64, 584, SEESAW_UINT8},
                                     {SEESAW_FORMAT_FP8_576, 512, 64, 576, SEESAW_UINT8},
                                     {SEESAW_FORMAT_FP8_576_TOKEN, 512, 64, 580, SEESAW_UINT8},
                                     {SEESAW_FORMAT_FP8_528, 448, 64, 528, SEESAW_UINT8},
                                     {SEESAW_FORMAT_FP4_288, 448, 64, 288, SEESAW_UINT8},
                                     {SEESAW_FORMAT_INDEXER_132, 128, 0, 132, SEESAW_UINT8},
                                     {SEESAW_FORMAT_INT8_644, 512, 64, 644, SEESAW_UINT8}};
  if (input.one_in(2)) {
    return kOfBytes[input.below(8)];
  }
  const int32_t dtype = float_type(input);
  const int64_t d_latent = 1 + (15 + input.below(32)) % 32;
  const int64_t d_rope = 2 * input.below(4);
  return {dtype, d_latent, d_rope, d_latent + d_rope, dtype};
}

}  // namespace seesaw::fuzz
