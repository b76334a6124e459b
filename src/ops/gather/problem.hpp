// gather as data: the C ABI's structs with a few words for what follows from them. See
// include/seesaw/ops/gather.h for the semantics.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cache_format.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"
#include "seesaw/ops/gather.h"

namespace seesaw::gather {

// The problem after complete(): no field is 0 that has a default.
struct Problem : seesaw_gather_problem {
  CacheFormat format() const { return cache_format(kv_format, columns); }
  DType out_type() const { return static_cast<DType>(out_dtype); }
  // Whether a row of out has the record's bytes, or numbers.
  bool copies() const { return out_type() == storage_of(kv_format); }
  int64_t out_row_bytes() const { return out_columns * size_of(out_type()); }
  int64_t page_stride_bytes() const { return kv_page_stride * size_of(storage_of(kv_format)); }
};
static_assert(sizeof(Problem) == sizeof(seesaw_gather_problem));

using Args = seesaw_gather_args;

struct GatherPlan : Plan {
  Problem problem;
  Options options;
  CacheFormat format;
};
using Functions = KernelFunctions<Problem, Args, GatherPlan>;

inline int64_t rows_of(const Args& args) { return args.out.shape[0]; }
// After check_call, one of the two, or neither if out has no rows.
inline bool by_slots(const Args& args) { return args.slots.data != nullptr; }
inline bool by_pages(const Args& args) { return args.cu_seq_lens.data != nullptr; }
inline int64_t batch_of(const Args& args) {
  return by_pages(args) ? args.cu_seq_lens.shape[0] - 1 : 0;
}

// ---- data in host memory

// Entry i of a vector of int32.
inline int64_t entry(const Tensor& tensor, int64_t i) {
  return static_cast<const int32_t*>(tensor.data)[i * tensor.stride[0]];
}

// Rows of out that have a token: by pages those before cu_seq_lens[b].
inline int64_t rows_written(const Args& args) {
  return by_pages(args) ? entry(args.cu_seq_lens, batch_of(args)) : rows_of(args);
}

// First token of a sequence, which row cu_seq_lens[sequence] of out gets.
inline int64_t start_of(const Args& args, int64_t sequence) {
  return args.starts.data == nullptr ? 0 : entry(args.starts, sequence);
}

inline int64_t slot_of(const Args& args, int64_t row) {
  const int64_t at = row * args.slots.stride[0];
  return dtype_of(args.slots) == DType::kInt32 ? static_cast<const int32_t*>(args.slots.data)[at]
                                               : static_cast<const int64_t*>(args.slots.data)[at];
}

// The scale of the whole cache; 1 if there is none.
inline float kv_scale_of(const Args& args) {
  return args.kv_scale.data == nullptr ? 1.0F : *static_cast<const float*>(args.kv_scale.data);
}

// Where a token is cached; page kNone: nowhere, and its row is zeros.
struct TokenPlace {
  static constexpr int64_t kNone = -1;
  int64_t page = kNone;
  int64_t token = 0;  // of the page
};

inline TokenPlace place_of_slot(const Problem& problem, const Args& args, int64_t slot) {
  const bool there = slot >= 0 && slot / problem.page_size < args.kv_cache.shape[0];
  return there ? TokenPlace{slot / problem.page_size, slot % problem.page_size} : TokenPlace{};
}

// Token `token` of a sequence, whose pages are checked (check_pages).
inline TokenPlace place_of_token(const Problem& problem, const Args& args, int64_t sequence,
                                 int64_t token) {
  const auto* ids = static_cast<const int32_t*>(args.block_table.data);
  const int64_t column = token / problem.page_size;
  return {ids[sequence * args.block_table.stride[0] + column], token % problem.page_size};
}

inline RecordView record_of(const GatherPlan& plan, const Args& args, const TokenPlace& place) {
  const Problem& problem = plan.problem;
  return record_at(
      plan.format,
      static_cast<const std::byte*>(args.kv_cache.data) + place.page * problem.page_stride_bytes(),
      problem.page_size, row_stride_bytes(plan.format, problem.kv_token_stride), place.token);
}

inline std::byte* row_of(const Args& args, int64_t row) {
  return static_cast<std::byte*>(args.out.data) +
         row * args.out.stride[0] * element_bytes(args.out);
}

// ---- what kernels share

Status complete(Problem* problem);
Status plan(const Problem& problem, const Options& options, KnobValues knobs, GatherPlan* plan);

// Which tensors were given, and sizes that the operation's table cannot compare: first in every
// run. Reads no data.
Status check_call(const Args& args);

// Lengths, starts and page ids, in host memory. By slots there is nothing to check: any number is a
// slot or a row of zeros.
Status check_pages(const Problem& problem, const Args& args);

Work work_of(const Problem& problem, const Options& options, const Args& args);

// reference.gather and cpu.gather.
Support supports_cpu(const Problem& problem, const Options& options);
Status run_reference(const GatherPlan& plan, const Args& args, const Call& call);
Status run_cpu(const GatherPlan& plan, const Args& args, const Call& call);

}  // namespace seesaw::gather
