/* Sparse MLA decoding: every query token attends the cached tokens of a list of its own.
 * q [batch, s_q, h_q, d_qk]; indices [batch, s_q, topk] name tokens of a paged cache kv_cache
 * [num_pages, page_size, h_kv, kv_columns] by slot, page * page_size + place in the page; the first
 * d_v columns of a token are also its value.
 *   out[b, i, h, :] = softmax(scale * q[b, i, h, :] K^T) V over the tokens of the list [b, i],
 *   lse[b, h, i]    = log(sum(exp(scale * q K^T))).
 * A slot outside of the cache, -1 above all, is no token: it is passed over, and nothing is read
 * for it. A slot that is named twice counts twice. With an extra cache, of a format and with lists
 * of its own, one softmax goes over the tokens of both. DeepSeek-V3.2's sparse attention; the
 * conventions are FlashMLA's. docs/contract.md is what every kernel promises. */
#ifndef SEESAW_OPS_SPARSE_DECODE_H_
#define SEESAW_OPS_SPARSE_DECODE_H_

#include "seesaw/seesaw.h"

/* What is asked, before any data. 0 in a field: its default. */
typedef struct seesaw_sparse_decode_problem {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_sparse_decode_problem);
  int32_t q_dtype SEESAW_ZERO;   /* float32, bfloat16 or float16; out has the same */
  int32_t kv_format SEESAW_ZERO; /* seesaw_format of the cache; default: q_dtype's */
  /* the most sequences of one call; a call may bring fewer */
  int64_t batch SEESAW_ZERO;
  int64_t s_q SEESAW_ZERO;  /* query tokens of each sequence; default 1 */
  int64_t h_q SEESAW_ZERO;  /* query heads */
  int64_t h_kv SEESAW_ZERO; /* KV heads: 1 */
  int64_t d_qk SEESAW_ZERO; /* columns of q and of a cached token; default 576, DeepSeek's */
  /* columns of out, the first d_v of a cached token's; default 512 */
  int64_t d_v SEESAW_ZERO;
  int64_t topk SEESAW_ZERO;            /* slots of a query token's list, >= 1 */
  int64_t page_size SEESAW_ZERO;       /* tokens of a page, >= 1; default 64 */
  int64_t kv_page_stride SEESAW_ZERO;  /* elements; default: packed */
  int64_t kv_token_stride SEESAW_ZERO; /* elements; default: packed */
  int64_t kv_columns SEESAW_ZERO;      /* the cache's last dimension; default: the format's */
  int64_t extra_topk SEESAW_ZERO;      /* slots of a list into the extra cache; 0: there is none */
  int64_t extra_page_size SEESAW_ZERO; /* the same of the extra cache; default 64 */
  int64_t extra_kv_page_stride SEESAW_ZERO;
  int64_t extra_kv_token_stride SEESAW_ZERO;
  int64_t extra_kv_columns SEESAW_ZERO;
  int32_t extra_kv_format SEESAW_ZERO; /* default: kv_format */
  int32_t lse_base SEESAW_ZERO;        /* seesaw_lse_base */
  int32_t empty_lse SEESAW_ZERO;       /* seesaw_empty_lse */
  int32_t reserved SEESAW_ZERO;
  int64_t d_rope SEESAW_ZERO; /* columns of q_rotary; 0: q has all (see dense_decode.h) */
} seesaw_sparse_decode_problem;

/* The tensors of one call, all on the planned device. seesaw_plan_prepare reads topk_length and
 * extra_topk_length, and of indices the shape alone: b. */
typedef struct seesaw_sparse_decode_args {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_sparse_decode_args);
  seesaw_tensor q SEESAW_ZERO;        /* [b, s_q, h_q, d_qk - d_rope], b <= the plan's batch */
  seesaw_tensor kv_cache SEESAW_ZERO; /* [num_pages, page_size, h_kv, kv_columns] */
  seesaw_tensor indices SEESAW_ZERO;  /* [b, s_q, topk] int32: slots */
  /* [b, s_q, h_q, d_v], dtype of q; every element is written */
  seesaw_tensor out SEESAW_ZERO;
  seesaw_tensor lse SEESAW_ZERO; /* [b, h_q, s_q] float32, any strides; data NULL: not wanted */
  /* [b, h_q, s_q] float32, any strides: the largest score, scaled, in natural units; -inf where
   * there is none; data NULL: not wanted */
  seesaw_tensor max_logits SEESAW_ZERO;
  /* [b] int32: how many slots of a sequence's lists count; those behind may hold anything. Below 0
   * is 0, above topk is topk; data NULL: topk */
  seesaw_tensor topk_length SEESAW_ZERO;
  /* [h_q] float32, the logarithm of what an attention sink adds to a head's sum of exp(score): out
   * is multiplied by exp(lse) / (exp(lse) + exp(sink)), +inf gives 0; lse and max_logits do not
   * know of it. data NULL: none */
  seesaw_tensor sinks SEESAW_ZERO;
  /* [extra_num_pages, extra_page_size, h_kv, extra_kv_columns], [b, s_q, extra_topk] int32, [b]
   * int32: the same of the extra cache; the first two, if extra_topk is not 0 */
  seesaw_tensor extra_kv_cache SEESAW_ZERO;
  seesaw_tensor extra_indices SEESAW_ZERO;
  seesaw_tensor extra_topk_length SEESAW_ZERO;
  /* [1] float32: what every number of a cache is multiplied by, for formats of one scale (fp8_576);
   * data NULL: 1 */
  seesaw_tensor kv_scale SEESAW_ZERO;
  seesaw_tensor extra_kv_scale SEESAW_ZERO;
  /* of the scores; finite; it has no default (see seesaw_dense_decode_args) */
  float scale SEESAW_NOT_GIVEN;
  uint32_t reserved SEESAW_ZERO;
  /* [b, s_q, h_q, d_rope], dtype of q: the other columns of the queries, if d_rope is not 0 */
  seesaw_tensor q_rotary SEESAW_ZERO;
} seesaw_sparse_decode_args;

/* The functions of seesaw.h with this operation's types. */
static inline seesaw_status seesaw_sparse_decode_plan_create(
    const seesaw_sparse_decode_problem* problem, const seesaw_options* options,
    seesaw_plan** plan) {
  return seesaw_plan_create("sparse_decode", problem, options, plan);
}
static inline seesaw_status seesaw_sparse_decode_prepare(const seesaw_plan* plan,
                                                         const seesaw_sparse_decode_args* args,
                                                         const seesaw_call* call) {
  return seesaw_plan_prepare(plan, args, call);
}
static inline seesaw_status seesaw_sparse_decode_run(const seesaw_plan* plan,
                                                     const seesaw_sparse_decode_args* args,
                                                     const seesaw_call* call) {
  return seesaw_plan_run(plan, args, call);
}

#if defined(__cplusplus) && __cplusplus >= 202002L
#include "seesaw/seesaw.hpp"

namespace seesaw {

/* seesaw::SparseDecode is a plan of this operation: seesaw.hpp. */
struct SparseDecodeOperation {
  using Problem = seesaw_sparse_decode_problem;
  using Args = seesaw_sparse_decode_args;
  static constexpr const char* kName = "sparse_decode";
};
using SparseDecode = PlanOf<SparseDecodeOperation>;

}  // namespace seesaw
#endif
#endif /* SEESAW_OPS_SPARSE_DECODE_H_ */
