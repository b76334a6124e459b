/* Sparse MLA prefill: n query tokens, of whichever sequences, attend rows of one contiguous tensor
 * of latents, each by a list of its own. q [n, h_q, d_qk]; kv [s_kv, h_kv, kv_columns]; indices
 * [n, h_kv, topk] are row numbers; the first d_v columns of a row are also its value.
 *   out[i, h, :] = softmax(scale * q[i, h, :] K^T) V over the rows of the list i,
 *   lse[i, h]    = log(sum(exp(scale * q K^T))).
 * A number that is no row, below 0 or from s_kv on, is passed over, and nothing is read for it. A
 * row that is named twice counts twice. What a token may see, its list says: there is no mask.
 * DeepSeek-V3.2's sparse attention; the conventions are FlashMLA's. docs/contract.md is what every
 * kernel promises. */
#ifndef SEESAW_OPS_SPARSE_PREFILL_H_
#define SEESAW_OPS_SPARSE_PREFILL_H_

#include "seesaw/seesaw.h"

/* What is asked, before any data. 0 in a field: its default. */
typedef struct seesaw_sparse_prefill_problem {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_sparse_prefill_problem);
  int32_t q_dtype SEESAW_ZERO; /* float32, bfloat16 or float16; out has the same */
  /* seesaw_format of the rows; default: q_dtype's. Formats whose scales lie behind a page are
   * refused: there are no pages */
  int32_t kv_format SEESAW_ZERO;
  int64_t s_q SEESAW_ZERO;  /* the most query tokens of one call; a call may bring fewer */
  int64_t h_q SEESAW_ZERO;  /* query heads */
  int64_t h_kv SEESAW_ZERO; /* KV heads: 1 */
  int64_t d_qk SEESAW_ZERO; /* columns of q and of a row; default 576, DeepSeek's */
  int64_t d_v SEESAW_ZERO;  /* columns of out, the first d_v of a row's; default 512 */
  int64_t topk SEESAW_ZERO; /* rows of a query token's list, >= 1 */
  int64_t kv_token_stride SEESAW_ZERO; /* elements from a row to the next; default: packed */
  int64_t kv_columns SEESAW_ZERO;      /* kv's last dimension; default: the format's */
  int32_t lse_base SEESAW_ZERO;        /* seesaw_lse_base */
  int32_t empty_lse SEESAW_ZERO;       /* seesaw_empty_lse */
  int64_t d_rope SEESAW_ZERO;          /* columns of q_rotary; 0: q has all (see dense_decode.h) */
} seesaw_sparse_prefill_problem;

/* The tensors of one call, all on the planned device. seesaw_plan_prepare reads topk_length, and of
 * indices the shape alone: n. */
typedef struct seesaw_sparse_prefill_args {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_sparse_prefill_args);
  seesaw_tensor q SEESAW_ZERO;       /* [n, h_q, d_qk - d_rope], n <= the plan's s_q */
  seesaw_tensor kv SEESAW_ZERO;      /* [s_kv, h_kv, kv_columns] */
  seesaw_tensor indices SEESAW_ZERO; /* [n, h_kv, topk] int32: row numbers */
  seesaw_tensor out SEESAW_ZERO;     /* [n, h_q, d_v], dtype of q; every element is written */
  seesaw_tensor lse SEESAW_ZERO;     /* [n, h_q] float32, any strides; data NULL: not wanted */
  /* [n, h_q] float32, any strides: the largest score, scaled, in natural units; -inf where there is
   * none; data NULL: not wanted */
  seesaw_tensor max_logits SEESAW_ZERO;
  /* [n] int32: how many rows of a list count; those behind may hold anything. Below 0 is 0, above
   * topk is topk; data NULL: topk */
  seesaw_tensor topk_length SEESAW_ZERO;
  /* [h_q] float32: as of seesaw_sparse_decode_args; data NULL: none */
  seesaw_tensor sinks SEESAW_ZERO;
  /* [1] float32: what every number of kv is multiplied by, for formats of one scale (fp8_576); data
   * NULL: 1 */
  seesaw_tensor kv_scale SEESAW_ZERO;
  /* of the scores; finite; it has no default (see seesaw_dense_decode_args) */
  float scale SEESAW_NOT_GIVEN;
  uint32_t reserved SEESAW_ZERO;
  /* [n, h_q, d_rope], dtype of q: the other columns of the queries, if d_rope is not 0 */
  seesaw_tensor q_rotary SEESAW_ZERO;
} seesaw_sparse_prefill_args;

/* The functions of seesaw.h with this operation's types. */
static inline seesaw_status seesaw_sparse_prefill_plan_create(
    const seesaw_sparse_prefill_problem* problem, const seesaw_options* options,
    seesaw_plan** plan) {
  return seesaw_plan_create("sparse_prefill", problem, options, plan);
}
static inline seesaw_status seesaw_sparse_prefill_prepare(const seesaw_plan* plan,
                                                          const seesaw_sparse_prefill_args* args,
                                                          const seesaw_call* call) {
  return seesaw_plan_prepare(plan, args, call);
}
static inline seesaw_status seesaw_sparse_prefill_run(const seesaw_plan* plan,
                                                      const seesaw_sparse_prefill_args* args,
                                                      const seesaw_call* call) {
  return seesaw_plan_run(plan, args, call);
}

#if defined(__cplusplus) && __cplusplus >= 202002L
#include "seesaw/seesaw.hpp"

namespace seesaw {

/* seesaw::SparsePrefill is a plan of this operation: seesaw.hpp. */
struct SparsePrefillOperation {
  using Problem = seesaw_sparse_prefill_problem;
  using Args = seesaw_sparse_prefill_args;
  static constexpr const char* kName = "sparse_prefill";
};
using SparsePrefill = PlanOf<SparsePrefillOperation>;

}  // namespace seesaw
#endif
#endif /* SEESAW_OPS_SPARSE_PREFILL_H_ */
