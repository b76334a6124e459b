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

#if defined(__cplusplus) && __cplusplus >= 202002L
#include "seesaw/seesaw.hpp"

namespace seesaw {

/* seesaw::MergeStates is a plan of this operation: seesaw.hpp. */
struct MergeStatesOperation {
  using Problem = seesaw_merge_states_problem;
  using Args = seesaw_merge_states_args;
  static constexpr const char* kName = "merge_states";
};
using MergeStates = PlanOf<MergeStatesOperation>;

}  // namespace seesaw
#endif
#endif /* SEESAW_OPS_MERGE_STATES_H_ */
