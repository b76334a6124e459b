// Tensor maps: what the copy engine (TMA) knows of a tensor. A map is a function of the numbers in
// BoxMap alone, so it is kept for as long as they stay the same: a decoding step asks for those of
// its 61 layers' caches, the next step for the same ones.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "base/status.hpp"
#include "core/tensor.hpp"

namespace seesaw::gpu {

inline constexpr int kBoxRank = 5;

// A map of 16-bit elements with 128-byte swizzle; innermost dimension first, of stride 1. TMA wants
// addresses and strides in multiples of 16 bytes, strides below 2^40 bytes; what lies outside the
// tensor is read as zeros.
struct BoxMap {
  const char* what;  // for messages
  DType dtype;
  void* data;
  uint64_t shape[kBoxRank];
  int64_t stride[kBoxRank - 1];  // elements, of dimensions 1 to 4
  uint32_t box[kBoxRank];        // elements that one copy brings
};

// Fills *map, from this thread's cache or through the driver. No lock; nothing is allocated but the
// cache itself, by a thread's first call.
Status make_tensor_map(const BoxMap& wanted, CUtensorMap* map);

}  // namespace seesaw::gpu
