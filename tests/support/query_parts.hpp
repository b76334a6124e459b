// The queries of a call in two parts, q and q_rotary: the same numbers as of one tensor, so that
// results must be the same bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lab/elements.hpp"
#include "seesaw/seesaw.h"
#include "support/strided.hpp"

namespace seesaw::testing {

class QueryParts {
 public:
  enum class Memory {
    kShared,  // both are columns of the tensor that they are cut from
    kOwn      // each has memory of its own, heads outermost, with NaN between its rows
  };

  QueryParts(const seesaw_tensor& queries, int64_t d_rope, Memory memory) : d_rope_(d_rope) {
    const int32_t last = queries.rank - 1;
    q_ = rotary_ = queries;
    q_.shape[last] -= d_rope;
    rotary_.shape[last] = d_rope;
    rotary_.data = static_cast<char*>(queries.data) +
                   q_.shape[last] * static_cast<int64_t>(lab::size_of(queries.dtype));
    if (memory == Memory::kOwn) {
      give_memory(3, &q_memory_, &q_);
      give_memory(5, &rotary_memory_, &rotary_);
    }
  }
  QueryParts(const QueryParts&) = delete;
  QueryParts& operator=(const QueryParts&) = delete;

  template <typename Problem>
  Problem problem(Problem of_one) const {
    of_one.d_rope = d_rope_;
    return of_one;
  }
  template <typename Args>
  Args args(Args of_one) const {
    of_one.q = q_;
    of_one.q_rotary = rotary_;
    return of_one;
  }

 private:
  // A copy with `gap` elements of NaN behind each row.
  static void give_memory(int64_t gap, std::vector<unsigned char>* memory, seesaw_tensor* tensor) {
    const seesaw_tensor from = *tensor;
    const int32_t heads = from.rank - 2;
    const int64_t row = from.shape[from.rank - 1] + gap;
    int64_t tokens = 1;
    for (int32_t i = heads - 1; i >= 0; --i) {
      tensor->stride[i] = tokens * row;
      tokens *= from.shape[i];
    }
    tensor->stride[heads] = tokens * row;
    const auto size = static_cast<int64_t>(lab::size_of(from.dtype));
    memory->assign(static_cast<size_t>(tokens * row * from.shape[heads] * size), 0xFF);
    tensor->data = memory->data();
    const std::vector<int64_t> read = places_of(from);
    const std::vector<int64_t> written = places_of(*tensor);
    for (size_t i = 0; i < read.size(); ++i) {
      std::memcpy(memory->data() + written[i] * size,
                  static_cast<const char*>(from.data) + read[i] * size, static_cast<size_t>(size));
    }
  }

  int64_t d_rope_;
  seesaw_tensor q_, rotary_;
  std::vector<unsigned char> q_memory_, rotary_memory_;
};

inline constexpr QueryParts::Memory kMemoriesOfParts[] = {QueryParts::Memory::kShared,
                                                          QueryParts::Memory::kOwn};

}  // namespace seesaw::testing
