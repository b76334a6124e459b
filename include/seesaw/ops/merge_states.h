/* Merges partial results of attention over disjoint sets of keys, each with its LSE (log-sum-exp),
 * into the result over all of them. For part i of num_parts, per row (batch, token, head):
 *   weight_i = exp(lse_i - max lse),   out = sum_i weight_i out_i / sum_i weight_i,
 *   lse = max lse + log(sum_i weight_i).
 * A part whose LSE is infinite, of either sign, attended nothing there: its out is not read into
 * the result. If all are, out = 0 and lse is the empty one. NaN stays NaN. Used behind split
 * prefixes (cascade attention) and context parallelism; Milakov and Gimelshein, "Online normalizer
 * calculation for softmax" (arXiv:1805.02867), section 3.1. */
#ifndef SEESAW_OPS_MERGE_STATES_H_
#define SEESAW_OPS_MERGE_STATES_H_

#include "seesaw/seesaw.h"

#define SEESAW_MERGE_STATES_MOST_PARTS 64

/* What is asked, before any data. 0 in a field: its default. */
typedef struct seesaw_merge_states_problem {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_merge_states_problem);
  int32_t dtype SEESAW_ZERO;     /* of every out: float32, bfloat16 or float16 */
  int32_t lse_base SEESAW_ZERO;  /* seesaw_lse_base, of every LSE */
  int32_t empty_lse SEESAW_ZERO; /* seesaw_empty_lse, of the merged LSE */
  int32_t reserved SEESAW_ZERO;
  int64_t num_parts SEESAW_ZERO; /* partial results to merge, 2 to 64 */
  int64_t batch SEESAW_ZERO;     /* the most sequences, or tokens, of one call */
  int64_t s SEESAW_ZERO;         /* tokens of each sequence; default 1 */
  int64_t h SEESAW_ZERO;         /* heads */
  int64_t d_v SEESAW_ZERO;       /* columns; default 512 */
} seesaw_merge_states_problem;

/* The tensors of one call, all on the planned device. Every LSE is [b, s, h] whatever its memory's
 * order is: the strides say, and may be anything. An engine that keeps [tokens, h, d_v] has b =
 * tokens and s = 1. */
typedef struct seesaw_merge_states_args {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_merge_states_args);
  /* [num_parts] tensors [b, s, h, d_v] */
  const seesaw_tensor* outs SEESAW_ZERO;
  /* [num_parts] tensors [b, s, h] float32 */
  const seesaw_tensor* lses SEESAW_ZERO;
  /* [b, s, h, d_v]; every element is written; may be one of outs, with the same strides */
  seesaw_tensor out SEESAW_ZERO;
  /* [b, s, h] float32; data NULL if not wanted; may be one of lses, with the same strides */
  seesaw_tensor lse SEESAW_ZERO;
} seesaw_merge_states_args;

/* The functions of seesaw.h with this operation's types. There is nothing to prepare. */
static inline seesaw_status seesaw_merge_states_plan_create(
    const seesaw_merge_states_problem* problem, const seesaw_options* options, seesaw_plan** plan) {
  return seesaw_plan_create("merge_states", problem, options, plan);
}
static inline seesaw_status seesaw_merge_states_run(const seesaw_plan* plan,
                                                    const seesaw_merge_states_args* args,
                                                    const seesaw_call* call) {
  return seesaw_plan_run(plan, args, call);
}

/* Partial results that lie in one buffer, as the ranks of context parallelism gather or exchange
 * them, as the lists of a call with b = tokens and s = 1:
 *   outs [n, tokens, h, d_v], lses [n, tokens, h] float32, with any strides. An LSE that is kept as
 *   [n, h, tokens] has the strides {h * tokens, 1, tokens}.
 * Nothing is copied. out_list, lse_list: room for n tensors each. Returns SEESAW_INVALID_ARGUMENT,
 * without a message, if ranks or shapes are not these, or n is above 64. */
static inline seesaw_status seesaw_merge_states_stacked(const seesaw_tensor* outs,
                                                        const seesaw_tensor* lses,
                                                        seesaw_tensor* out_list,
                                                        seesaw_tensor* lse_list) {
  const int64_t out_bytes = outs->dtype == SEESAW_FLOAT32 ? 4 : 2;
  const int64_t n = outs->shape[0];
  if (outs->rank != 4 || lses->rank != 3 || n > SEESAW_MERGE_STATES_MOST_PARTS) {
    return SEESAW_INVALID_ARGUMENT;
  }
  for (int i = 0; i < 3; ++i) {
    if (outs->shape[i] != lses->shape[i]) {
      return SEESAW_INVALID_ARGUMENT;
    }
  }
  for (int64_t part = 0; part < n; ++part) {
    seesaw_tensor* out = &out_list[part];
    seesaw_tensor* lse = &lse_list[part];
    *out = *outs;
    *lse = *lses;
    out->data = (char*)outs->data + part * outs->stride[0] * out_bytes;
    lse->data = (char*)lses->data + part * lses->stride[0] * 4;
    out->shape[0] = lse->shape[0] = outs->shape[1];
    out->stride[0] = outs->stride[1];
    lse->stride[0] = lses->stride[1];
    out->shape[1] = lse->shape[1] = 1;
  }
  return SEESAW_OK;
}

/* The same of rows that carry their LSE: rows [n, tokens, h, columns] of out's dtype, each d_v
 * elements and then a float32, columns >= d_v + 2 (float32: d_v + 1). Rows begin on 4 bytes; rows
 * on 16 bytes are read faster. Returns SEESAW_INVALID_ARGUMENT, without a message, if they do not
 * fit.
 */
static inline seesaw_status seesaw_merge_states_packed(const seesaw_tensor* rows, int64_t d_v,
                                                       seesaw_tensor* out_list,
                                                       seesaw_tensor* lse_list) {
  const int64_t element_bytes = rows->dtype == SEESAW_FLOAT32 ? 4 : 2;
  seesaw_tensor outs = *rows;
  seesaw_tensor lses = *rows;
  if (rows->rank != 4 || d_v < 1 || d_v * element_bytes % 4 != 0 ||
      rows->shape[3] < d_v + 4 / element_bytes) {
    return SEESAW_INVALID_ARGUMENT;
  }
  outs.shape[3] = d_v;
  lses.data = (char*)rows->data + d_v * element_bytes;
  lses.dtype = SEESAW_FLOAT32;
  lses.rank = 3;
  for (int i = 0; i < 3; ++i) {
    if (rows->stride[i] * element_bytes % 4 != 0) {
      return SEESAW_INVALID_ARGUMENT;
    }
    lses.stride[i] = rows->stride[i] * element_bytes / 4;
  }
  return seesaw_merge_states_stacked(&outs, &lses, out_list, lse_list);
}

#if defined(__cplusplus) && __cplusplus >= 202002L
#include <vector>

#include "seesaw/seesaw.hpp"

namespace seesaw {

/* seesaw::MergeStates is a plan of this operation: seesaw.hpp. */
struct MergeStatesOperation {
  using Problem = seesaw_merge_states_problem;
  using Args = seesaw_merge_states_args;
  static constexpr const char* kName = "merge_states";
};
using MergeStates = PlanOf<MergeStatesOperation>;

/* Partial results in one buffer as a call's lists, which this owns:
 *   const StackedStates parts = StackedStates::of(outs, lses);
 *   merge.run({.outs = parts.outs(), .lses = parts.lses(), .out = out}, {}); */
class StackedStates {
 public:
  /* outs [n, tokens, h, d_v], lses [n, tokens, h]: seesaw_merge_states_stacked. */
  static StackedStates of(const seesaw_tensor& outs, const seesaw_tensor& lses) {
    StackedStates parts(outs.shape[0]);
    if (seesaw_merge_states_stacked(&outs, &lses, parts.outs_.data(), parts.lses_.data()) !=
        SEESAW_OK) {
      throw Error(SEESAW_INVALID_ARGUMENT,
                  "merge_states: stacked tensors that do not fit each other, allowed: outs [n, "
                  "tokens, h, d_v] and lses [n, tokens, h], n up to 64. Reshape them.");
    }
    return parts;
  }
  /* rows [n, tokens, h, columns], each with its LSE behind d_v elements:
   * seesaw_merge_states_packed. */
  static StackedStates packed(const seesaw_tensor& rows, int64_t d_v) {
    StackedStates parts(rows.shape[0]);
    if (seesaw_merge_states_packed(&rows, d_v, parts.outs_.data(), parts.lses_.data()) !=
        SEESAW_OK) {
      throw Error(SEESAW_INVALID_ARGUMENT,
                  "merge_states: packed rows that do not fit, allowed: [n, tokens, h, columns], n "
                  "up to 64, with room for d_v elements and a float32 on 4 bytes. Pad the rows.");
    }
    return parts;
  }
  int64_t count() const noexcept { return static_cast<int64_t>(outs_.size()); }
  const seesaw_tensor* outs() const noexcept { return outs_.data(); }
  const seesaw_tensor* lses() const noexcept { return lses_.data(); }

 private:
  explicit StackedStates(int64_t n) {
    const bool fits = n >= 0 && n <= SEESAW_MERGE_STATES_MOST_PARTS;
    outs_.resize(fits ? static_cast<size_t>(n) : 0);
    lses_.resize(outs_.size());
  }
  std::vector<seesaw_tensor> outs_;
  std::vector<seesaw_tensor> lses_;
};

}  // namespace seesaw
#endif
#endif /* SEESAW_OPS_MERGE_STATES_H_ */
