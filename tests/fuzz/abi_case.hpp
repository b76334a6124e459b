// Small calls that are right, before the fuzzer damages them. Those of the sparse operations are in
// sparse_case.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "input.hpp"
#include "memory.hpp"
#include "seesaw/ops/append.h"
#include "seesaw/ops/dense_decode.h"
#include "seesaw/ops/gather.h"
#include "seesaw/ops/merge_states.h"
#include "tensors.hpp"

namespace seesaw::fuzz {

struct DenseDecodeCase : CaseDefaults {
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

struct MergeStatesCase : CaseDefaults {
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

struct AppendCase : CaseDefaults {
  using Problem = seesaw_append_problem;
  using Args = seesaw_append_args;
  static constexpr const char* kOperation = "append";

  Problem problem{};
  Args args{};

  explicit AppendCase(Input& input) {
    const SmallCache cache = small_cache(input);
    problem.dtype = float_type(input);
    problem.kv_format = cache.format;
    problem.tokens = 5 - input.below(5);
    problem.d_latent = cache.d_latent;
    problem.d_rope = cache.d_rope == 0 ? -1 : cache.d_rope;
    problem.page_size = 1 + input.below(3);
    problem.scales = static_cast<int32_t>(input.below(2));
    const Problem& p = problem;
    const int64_t gap = input.one_in(4) ? 1 + input.below(8) : 0;
    args.c_kv = make_tensor(p.dtype, {p.tokens, cache.d_latent}, gap);
    if (cache.d_rope > 0) {
      args.k_rope = make_tensor(p.dtype, {p.tokens, cache.d_rope}, gap);
    }
    args.slot_mapping = make_tensor(SEESAW_INT64, {p.tokens});
    args.kv_cache = make_tensor(cache.dtype, {4, p.page_size, cache.token_elements});
    problem.kv_page_stride = args.kv_cache.stride[0];
    if (cache.d_rope > 0 && input.one_in(3)) {
      problem.rotary = input.one_in(2) ? SEESAW_ROTARY_INTERLEAVED : SEESAW_ROTARY_HALF_SPLIT;
      args.positions = make_tensor(SEESAW_INT64, {p.tokens});
      args.cos_sin = make_tensor(SEESAW_FLOAT32, {12, cache.d_rope}, gap);
    }
  }

  std::vector<Place> inputs() {
    std::vector<Place> places = {{&args.c_kv, TensorMemory::Fill::kNumbers},
                                 {&args.slot_mapping, TensorMemory::Fill::kSlots}};
    if (args.k_rope.rank != 0) {
      places.push_back({&args.k_rope, TensorMemory::Fill::kNumbers});
    }
    if (args.positions.rank != 0) {
      places.push_back({&args.positions, TensorMemory::Fill::kSlots});
      places.push_back({&args.cos_sin, TensorMemory::Fill::kNumbers});
    }
    return places;
  }
  std::vector<Place> results() { return {{&args.kv_cache, TensorMemory::Fill::kPoison}}; }
  bool writes_all() const { return false; }
  // Its slots have to differ.
  bool is_right() const {
    const auto* slots = static_cast<const int64_t*>(args.slot_mapping.data);
    std::set<int64_t> seen;
    for (int64_t i = 0; i < args.slot_mapping.shape[0]; ++i) {
      const int64_t slot = slots[i * args.slot_mapping.stride[0]];
      if (slot >= 0 && !seen.insert(slot).second) {
        return false;
      }
    }
    return true;
  }
};

struct GatherCase : CaseDefaults {
  using Problem = seesaw_gather_problem;
  using Args = seesaw_gather_args;
  static constexpr const char* kOperation = "gather";

  Problem problem{};
  Args args{};

  explicit GatherCase(Input& input) {
    const SmallCache cache = small_cache(input);
    problem.kv_format = cache.format;
    problem.out_dtype = input.one_in(2) ? float_type(input) : cache.dtype;
    problem.rows = 6 - input.below(6);
    problem.batch = 3 - input.below(3);
    problem.columns = cache.d_latent + cache.d_rope;
    problem.page_size = 1 + input.below(3);
    const Problem& p = problem;
    const bool raw = p.out_dtype == SEESAW_UINT8;
    args.kv_cache = make_tensor(cache.dtype, {4, p.page_size, cache.token_elements});
    problem.kv_page_stride = args.kv_cache.stride[0];
    args.out = make_tensor(p.out_dtype, {p.rows, raw ? cache.token_elements : p.columns},
                           input.one_in(4) ? 1 + input.below(8) : 0);
    if (input.one_in(2)) {
      problem.slot_dtype = input.one_in(2) ? SEESAW_INT32 : SEESAW_INT64;
      args.slots = make_tensor(problem.slot_dtype, {p.rows});
    } else {
      args.block_table = make_tensor(SEESAW_INT32, {p.batch, 3});
      args.cu_seq_lens = make_tensor(SEESAW_INT32, {p.batch + 1});
      if (input.one_in(2)) {
        args.starts = make_tensor(SEESAW_INT32, {p.batch});
      }
    }
  }

  std::vector<Place> inputs() {
    std::vector<Place> places = {{&args.kv_cache, TensorMemory::Fill::kNumbers}};
    if (args.slots.rank != 0) {
      places.push_back({&args.slots, TensorMemory::Fill::kSlots});
    }
    if (args.cu_seq_lens.rank != 0) {
      places.push_back({&args.block_table, TensorMemory::Fill::kIds});
      places.push_back({&args.cu_seq_lens, TensorMemory::Fill::kGrowing});
    }
    if (args.starts.rank != 0) {
      places.push_back({&args.starts, TensorMemory::Fill::kIds});
    }
    return places;
  }
  std::vector<Place> results() { return {{&args.out, TensorMemory::Fill::kPoison}}; }
  bool writes_all() const { return false; }  // by pages; and a cache's bytes may be all ones
};

}  // namespace seesaw::fuzz
