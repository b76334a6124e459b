// Elements of tensors of any strides.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "seesaw/seesaw.h"

namespace seesaw::testing {

// Elements of the memory of a tensor whose outermost dimension has no gap behind it.
inline int64_t memory_elements(const seesaw_tensor& tensor) {
  int64_t elements = 1;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    elements = std::max(elements, tensor.shape[i] * tensor.stride[i]);
  }
  return std::count(tensor.shape, tensor.shape + tensor.rank, 0) > 0 ? 0 : elements;
}

// Where the elements lie, the last dimension fastest: counted in elements from the first.
inline std::vector<int64_t> places_of(const seesaw_tensor& tensor) {
  std::vector<int64_t> places{0};
  for (int32_t i = 0; i < tensor.rank; ++i) {
    std::vector<int64_t> finer;
    finer.reserve(places.size() * static_cast<size_t>(tensor.shape[i]));
    for (const int64_t place : places) {
      for (int64_t k = 0; k < tensor.shape[i]; ++k) {
        finer.push_back(place + k * tensor.stride[i]);
      }
    }
    places = std::move(finer);
  }
  return places;
}

// Those of the memory's elements that are none of the tensor's.
inline std::vector<int64_t> gaps_of(const seesaw_tensor& tensor) {
  std::vector<bool> taken(static_cast<size_t>(memory_elements(tensor)));
  for (const int64_t place : places_of(tensor)) {
    taken[static_cast<size_t>(place)] = true;
  }
  std::vector<int64_t> gaps;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (!taken[i]) gaps.push_back(static_cast<int64_t>(i));
  }
  return gaps;
}

}  // namespace seesaw::testing
