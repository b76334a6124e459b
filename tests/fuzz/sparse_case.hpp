// Small calls of the sparse operations that are right, before the fuzzer damages them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <vector>

#include "input.hpp"
#include "memory.hpp"
#include "seesaw/ops/sparse_decode.h"
#include "seesaw/ops/sparse_prefill.h"
#include "tensors.hpp"

namespace seesaw::fuzz {

// Another cache whose tokens have as many columns.
inline SmallCache cache_beside(Input& input, const SmallCache& cache) {
  const SmallCache other = small_cache(input);
  if (other.d_latent + other.d_rope == cache.d_latent + cache.d_rope) {
    return other;
  }
  const int32_t dtype = float_type(input);
  return {dtype, cache.d_latent, cache.d_rope, cache.d_latent + cache.d_rope, dtype};
}

// What both problems ask. Heads are so few that 4 query tokens of 576 columns get memory.
template <typename Problem>
void choose_attention(Input& input, const SmallCache& cache, Problem* problem) {
  problem->q_dtype = float_type(input);
  problem->kv_format = cache.format;
  problem->h_q = 1 + input.below(cache.dtype == SEESAW_UINT8 ? 3 : 9);
  problem->d_qk = cache.d_latent + cache.d_rope;
  problem->d_v = 1 + (cache.d_latent - 1 + input.byte()) % problem->d_qk;
  problem->d_rope = input.one_in(3) ? input.byte() % problem->d_qk : 0;
  problem->topk = 1 + (7 + input.byte()) % 160;
  problem->lse_base = input.one_in(2);
  problem->empty_lse = input.one_in(2);
}

// What a call may leave out and has the same shape in both operations.
template <typename Problem, typename Args>
void choose_optional(Input& input, const Problem& problem, Args* args) {
  if (input.one_in(2)) {
    args->topk_length = make_tensor(SEESAW_INT32, {args->indices.shape[0]});
  }
  if (input.one_in(3)) {
    args->sinks = make_tensor(SEESAW_FLOAT32, {problem.h_q});
  }
  if (input.one_in(4)) {
    args->kv_scale = make_tensor(SEESAW_FLOAT32, {1});
  }
}

// Those that the call brings: others have no rank.
inline std::vector<Place> given(std::initializer_list<Place> places) {
  std::vector<Place> result;
  std::copy_if(places.begin(), places.end(), std::back_inserter(result),
               [](const Place& place) { return place.tensor->rank != 0; });
  return result;
}

struct SparseDecodeCase : CaseDefaults {
  using Problem = seesaw_sparse_decode_problem;
  using Args = seesaw_sparse_decode_args;
  static constexpr const char* kOperation = "sparse_decode";

  Problem problem{};
  Args args{};

  explicit SparseDecodeCase(Input& input) {
    const SmallCache cache = small_cache(input);
    choose_attention(input, cache, &problem);
    const int64_t b = 2 - input.below(2);
    problem.batch = b + input.one_in(4);
    problem.s_q = 1 + input.below(2);
    problem.page_size = 1 + input.below(3);
    const Problem& p = problem;
    const int64_t gap = input.one_in(4) ? 1 + input.below(8) : 0;
    args.q = make_tensor(p.q_dtype, {b, p.s_q, p.h_q, p.d_qk - p.d_rope}, gap);
    if (p.d_rope > 0) {
      args.q_rotary = make_tensor(p.q_dtype, {b, p.s_q, p.h_q, p.d_rope}, gap);
    }
    args.kv_cache = make_tensor(cache.dtype, {4, p.page_size, 1, cache.token_elements}, gap);
    problem.kv_page_stride = args.kv_cache.stride[0];
    problem.kv_token_stride = args.kv_cache.stride[1];
    args.indices = make_tensor(SEESAW_INT32, {b, p.s_q, p.topk}, gap);
    args.out = make_tensor(p.q_dtype, {b, p.s_q, p.h_q, p.d_v}, gap);
    args.scale = 0.125F;
    choose_optional(input, p, &args);
    if (!input.one_in(4)) {
      args.lse = make_tensor(SEESAW_FLOAT32, {b, p.h_q, p.s_q}, gap);
    }
    if (input.one_in(2)) {
      args.max_logits = make_tensor(SEESAW_FLOAT32, {b, p.h_q, p.s_q}, gap);
    }
    if (input.one_in(2)) {
      add_extra_cache(input, cache_beside(input, cache), gap);
    }
  }

  std::vector<Place> inputs() {
    return given({{&args.q, TensorMemory::Fill::kNumbers},
                  {&args.kv_cache, TensorMemory::Fill::kNumbers},
                  {&args.indices, TensorMemory::Fill::kLists},
                  {&args.topk_length, TensorMemory::Fill::kLengths},
                  {&args.sinks, TensorMemory::Fill::kNumbers},
                  {&args.extra_kv_cache, TensorMemory::Fill::kNumbers},
                  {&args.extra_indices, TensorMemory::Fill::kLists},
                  {&args.extra_topk_length, TensorMemory::Fill::kLengths},
                  {&args.kv_scale, TensorMemory::Fill::kNumbers},
                  {&args.extra_kv_scale, TensorMemory::Fill::kNumbers},
                  {&args.q_rotary, TensorMemory::Fill::kNumbers}});
  }
  std::vector<Place> results() {
    return given({{&args.out, TensorMemory::Fill::kPoison},
                  {&args.lse, TensorMemory::Fill::kPoison},
                  {&args.max_logits, TensorMemory::Fill::kPoison}});
  }

 private:
  void add_extra_cache(Input& input, const SmallCache& cache, int64_t gap) {
    problem.extra_kv_format = cache.format;
    problem.extra_topk = 1 + (3 + input.byte()) % 160;
    problem.extra_page_size = 1 + input.below(3);
    const Problem& p = problem;
    const int64_t b = args.indices.shape[0];
    args.extra_kv_cache =
        make_tensor(cache.dtype, {4, p.extra_page_size, 1, cache.token_elements}, gap);
    problem.extra_kv_page_stride = args.extra_kv_cache.stride[0];
    problem.extra_kv_token_stride = args.extra_kv_cache.stride[1];
    args.extra_indices = make_tensor(SEESAW_INT32, {b, p.s_q, p.extra_topk}, gap);
    if (input.one_in(2)) {
      args.extra_topk_length = make_tensor(SEESAW_INT32, {b});
    }
    if (input.one_in(4)) {
      args.extra_kv_scale = make_tensor(SEESAW_FLOAT32, {1});
    }
  }
};

struct SparsePrefillCase : CaseDefaults {
  using Problem = seesaw_sparse_prefill_problem;
  using Args = seesaw_sparse_prefill_args;
  static constexpr const char* kOperation = "sparse_prefill";

  Problem problem{};
  Args args{};

  explicit SparsePrefillCase(Input& input) {
    const SmallCache cache = small_cache(input);
    choose_attention(input, cache, &problem);
    const int64_t n = 4 - input.below(4);
    const int64_t s_kv = 12 - input.below(12);
    problem.s_q = n + input.one_in(4);
    const Problem& p = problem;
    const int64_t gap = input.one_in(4) ? 1 + input.below(8) : 0;
    args.q = make_tensor(p.q_dtype, {n, p.h_q, p.d_qk - p.d_rope}, gap);
    if (p.d_rope > 0) {
      args.q_rotary = make_tensor(p.q_dtype, {n, p.h_q, p.d_rope}, gap);
    }
    args.kv = make_tensor(cache.dtype, {s_kv, 1, cache.token_elements}, gap);
    problem.kv_token_stride = args.kv.stride[0];
    args.indices = make_tensor(SEESAW_INT32, {n, 1, p.topk}, gap);
    args.out = make_tensor(p.q_dtype, {n, p.h_q, p.d_v}, gap);
    args.scale = 0.125F;
    choose_optional(input, p, &args);
    if (!input.one_in(4)) {
      args.lse = make_tensor(SEESAW_FLOAT32, {n, p.h_q}, gap);
    }
    if (input.one_in(2)) {
      args.max_logits = make_tensor(SEESAW_FLOAT32, {n, p.h_q}, gap);
    }
  }

  std::vector<Place> inputs() {
    return given({{&args.q, TensorMemory::Fill::kNumbers},
                  {&args.kv, TensorMemory::Fill::kNumbers},
                  {&args.indices, TensorMemory::Fill::kLists},
                  {&args.topk_length, TensorMemory::Fill::kLengths},
                  {&args.sinks, TensorMemory::Fill::kNumbers},
                  {&args.kv_scale, TensorMemory::Fill::kNumbers},
                  {&args.q_rotary, TensorMemory::Fill::kNumbers}});
  }
  std::vector<Place> results() {
    return given({{&args.out, TensorMemory::Fill::kPoison},
                  {&args.lse, TensorMemory::Fill::kPoison},
                  {&args.max_logits, TensorMemory::Fill::kPoison}});
  }
};

}  // namespace seesaw::fuzz
