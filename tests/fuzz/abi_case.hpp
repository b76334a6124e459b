// Small calls of each operation that are right, before the fuzzer damages them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "input.hpp"
#include "memory.hpp"
#include "seesaw/ops/dense_decode.h"
#include "seesaw/ops/merge_states.h"

namespace seesaw::fuzz {

// A tensor of a call, and what its memory holds.
struct Place {
  seesaw_tensor* tensor;
  TensorMemory::Fill fill;
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

struct DenseDecodeCase {
  using Problem = seesaw_dense_decode_problem;
  using Args = seesaw_dense_decode_args;
  static constexpr const char* kOperation = "dense_decode";

  Problem problem{};
  Args args{};

  explicit DenseDecodeCase(Input& input) {
    problem.q_dtype = float_type(input);
    problem.kv_format = input.one_in(8) ? float_type(input) : 0;
    problem.batch = 3 - input.below(3);
    problem.s_q = 1 + input.below(3);
    problem.h_kv = 1 + input.below(2);
    problem.h_q = problem.h_kv * (1 + input.below(9));
    problem.d_qk = 16 + input.below(32);
    problem.d_v = 1 + (15 + input.below(64)) % problem.d_qk;
    problem.page_size = 1 + (7 + input.below(16)) % 16;
    problem.max_pages_per_sequence = 6 - input.below(6);
    problem.causal = input.one_in(2);
    problem.lse_base = input.one_in(2);
    problem.empty_lse = input.one_in(2);
    make_args(input.one_in(4) ? 1 + input.below(8) : 0);
  }

  std::vector<Place> inputs() {
    return {{&args.q, TensorMemory::Fill::kNumbers},
            {&args.kv_cache, TensorMemory::Fill::kNumbers},
            {&args.block_table, TensorMemory::Fill::kIds},
            {&args.seq_lens, TensorMemory::Fill::kLengths}};
  }
  std::vector<Place> results() {
    return {{&args.out, TensorMemory::Fill::kPoison}, {&args.lse, TensorMemory::Fill::kPoison}};
  }
  void damage_lists(Input&) {}
  void place_lists(Input&) {}

 private:
  void make_args(int64_t gap) {
    const Problem& p = problem;
    const int32_t kv_type = p.kv_format == 0 ? p.q_dtype : p.kv_format;
    args.q = make_tensor(p.q_dtype, {p.batch, p.s_q, p.h_q, p.d_qk}, gap);
    args.kv_cache = make_tensor(kv_type, {4, p.page_size, p.h_kv, p.d_qk}, gap);
    problem.kv_page_stride = args.kv_cache.stride[0];
    problem.kv_token_stride = args.kv_cache.stride[1];
    problem.kv_head_stride = args.kv_cache.stride[2];
    args.block_table = make_tensor(SEESAW_INT32, {p.batch, p.max_pages_per_sequence}, gap);
    args.seq_lens = make_tensor(SEESAW_INT32, {p.batch});
    args.out = make_tensor(p.q_dtype, {p.batch, p.s_q, p.h_q, p.d_v}, gap);
    args.lse = make_tensor(SEESAW_FLOAT32, {p.batch, p.h_q, p.s_q}, gap);
    args.scale = 0.125F;
  }
};

struct MergeStatesCase {
  using Problem = seesaw_merge_states_problem;
  using Args = seesaw_merge_states_args;
  static constexpr const char* kOperation = "merge_states";

  Problem problem{};
  Args args{};

  explicit MergeStatesCase(Input& input) {
    problem.dtype = float_type(input);
    problem.num_parts = 2 + input.below(4);
    problem.batch = 3 - input.below(3);
    problem.s = 1 + input.below(3);
    problem.h = 1 + input.below(5);
    problem.d_v = 1 + (15 + input.below(40)) % 40;
    problem.lse_base = input.one_in(2);
    problem.empty_lse = input.one_in(2);
    const Problem& p = problem;
    const int64_t gap = input.one_in(4) ? 1 + input.below(8) : 0;
    args.out = make_tensor(p.dtype, {p.batch, p.s, p.h, p.d_v}, gap);
    args.lse = make_tensor(SEESAW_FLOAT32, {p.batch, p.s, p.h}, gap);
    // As many as a damaged num_parts may ask for.
    outs_.assign(SEESAW_MERGE_STATES_MOST_PARTS, args.out);
    lses_.assign(SEESAW_MERGE_STATES_MOST_PARTS, args.lse);
  }

  std::vector<Place> inputs() {
    std::vector<Place> places;
    const auto parts = std::clamp<int64_t>(problem.num_parts, 2, SEESAW_MERGE_STATES_MOST_PARTS);
    for (size_t i = 0; i < static_cast<size_t>(parts); ++i) {
      places.push_back({&outs_[i], TensorMemory::Fill::kNumbers});
      places.push_back({&lses_[i], TensorMemory::Fill::kNumbers});
    }
    return places;
  }
  std::vector<Place> results() {
    return {{&args.out, TensorMemory::Fill::kPoison}, {&args.lse, TensorMemory::Fill::kPoison}};
  }
  void damage_lists(Input& input) {
    std::vector<seesaw_tensor>& list = input.one_in(2) ? lses_ : outs_;
    input.damage(&list[input.below(3)]);
  }
  // After damage to the arguments, whose pointers must be real or NULL.
  void place_lists(Input& input) {
    args.outs = input.one_in(32) ? nullptr : outs_.data();
    args.lses = input.one_in(32) ? nullptr : lses_.data();
  }

 private:
  std::vector<seesaw_tensor> outs_;
  std::vector<seesaw_tensor> lses_;
};

}  // namespace seesaw::fuzz
