/* Dense MLA decoding: q [batch, s_q, h_q, d_qk] over a paged cache
 * kv_cache [num_pages, page_size, h_kv, d_qk], whose first d_v columns are also the values.
 *   out[b, i, h, :] = softmax(scale * q[b, i, h, :] K^T) V over the keys that token i sees,
 *   lse[b, h, i]    = log(sum(exp(scale * q K^T))).
 * Query head h reads KV head h / (h_q / h_kv). DeepSeek-V2 (arXiv:2405.04434), section 2.1.2, in
 * its absorbed form. docs/contract.md is what every kernel promises. */
#ifndef SEESAW_OPS_DENSE_DECODE_H_
#define SEESAW_OPS_DENSE_DECODE_H_

#include <math.h>

#include "seesaw/seesaw.h"

/* What is asked, before any data. 0 in a field: its default. */
typedef struct seesaw_dense_decode_problem {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_dense_decode_problem);
  int32_t q_dtype SEESAW_ZERO;   /* float32, bfloat16 or float16; out has the same */
  int32_t kv_format SEESAW_ZERO; /* seesaw_format of the cache; default: q_dtype's */
  /* the most sequences of one call; a call may bring fewer */
  int64_t batch SEESAW_ZERO;
  int64_t s_q SEESAW_ZERO;  /* query tokens of each sequence, if ragged at most; default 1 */
  int64_t h_q SEESAW_ZERO;  /* query heads, a multiple of h_kv */
  int64_t h_kv SEESAW_ZERO; /* KV heads; default 1, as in MLA */
  int64_t d_qk SEESAW_ZERO; /* columns of q and of the cache; default 576, DeepSeek's */
  /* columns of out, the first d_v of the cache's; default 512 */
  int64_t d_v SEESAW_ZERO;
  int64_t page_size SEESAW_ZERO;              /* tokens of a page, >= 1; default 64 */
  int64_t max_pages_per_sequence SEESAW_ZERO; /* columns of the block table */
  int64_t kv_page_stride SEESAW_ZERO;         /* elements; default: packed */
  int64_t kv_token_stride SEESAW_ZERO;        /* elements; default: packed */
  int64_t kv_head_stride SEESAW_ZERO;         /* elements; default: packed */
  /* 1: query token i of s_q sees the first seq_len - s_q + i + 1 keys */
  int32_t causal SEESAW_ZERO;
  int32_t lse_base SEESAW_ZERO;  /* seesaw_lse_base */
  int32_t empty_lse SEESAW_ZERO; /* seesaw_empty_lse */
  /* 1: sequences have query tokens of their own number, which cu_seqlens_q tells; "s_q" below is
   * then each sequence's own number */
  int32_t ragged SEESAW_ZERO;
  /* elements of a token in the cache's last dimension; default: the format's, d_qk or its bytes */
  int64_t kv_columns SEESAW_ZERO;
  /* query token i of s_q, which is the sequence's token p = seq_len - s_q + i, does not see tokens
   * before p + 1 - window; 0: it sees them */
  int64_t window SEESAW_ZERO;
  /* 1: calls may bring the argument of this name; 0: they must not */
  int32_t tree_mask SEESAW_ZERO;
  int32_t sinks SEESAW_ZERO;
  int32_t max_logits SEESAW_ZERO;
  int32_t soft_cap SEESAW_ZERO;
  /* columns of q_rotary: the last ones of a query, which then come as a tensor of their own; 0: q
   * has all of them */
  int64_t d_rope SEESAW_ZERO;
} seesaw_dense_decode_problem;

/* The tensors of one call, all on the planned device. seesaw_plan_prepare reads seq_lens only.
 * Ragged, the query tokens of all sequences lie one behind the other: [b, s_q, ...] becomes
 * [total_q, ...], [b, h_q, s_q] becomes [h_q, total_q]. Query tokens behind the last sequence's are
 * neither read nor written. */
typedef struct seesaw_dense_decode_args {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_dense_decode_args);
  seesaw_tensor q SEESAW_ZERO;        /* [b, s_q, h_q, d_qk - d_rope], b <= the plan's batch */
  seesaw_tensor kv_cache SEESAW_ZERO; /* [num_pages, page_size, h_kv, kv_columns] */
  /* [b, max_pages_per_sequence] int32: page ids */
  seesaw_tensor block_table SEESAW_ZERO;
  /* [b] int32: tokens in the cache, the s_q new ones included; a negative length counts as 0 */
  seesaw_tensor seq_lens SEESAW_ZERO;
  /* [b, s_q, h_q, d_v], dtype of q; every element is written */
  seesaw_tensor out SEESAW_ZERO;
  /* [b, h_q, s_q] float32, any strides: [b, s_q, h_q] in memory, too; data NULL if not wanted */
  seesaw_tensor lse SEESAW_ZERO;
  /* of the scores; finite. There is no default: it is the model's (seesaw_mla_softmax_scale), and 0
   * makes all weights equal. In C++ a scale that is left out is NaN, which is refused; C has no
   * means to tell it from 0 */
  float scale SEESAW_NOT_GIVEN;
  /* > 0: scaled scores become soft_cap * tanh(score / soft_cap); 0: they do not */
  float soft_cap SEESAW_ZERO;
  /* [1] float32: what every number of the cache is multiplied by, for formats of one scale
   * (fp8_576); data NULL: 1 */
  seesaw_tensor kv_scale SEESAW_ZERO;
  /* [b, s_q, tree_bytes] uint8, tree_bytes >= ceil(s_q / 8): query token i sees of the sequence's
   * last s_q tokens, which are the queries' own, number k only where bit k % 8 of byte k / 8 of its
   * row is set, as far as the other masks let it; data NULL: no tree */
  seesaw_tensor tree_mask SEESAW_ZERO;
  /* [h_q] float32, the logarithm of what an attention sink adds to a head's sum of exp(score): out
   * is multiplied by exp(lse) / (exp(lse) + exp(sink)), +inf gives 0; lse and max_logits do not
   * know of it. data NULL: none */
  seesaw_tensor sinks SEESAW_ZERO;
  /* [b, h_q, s_q] float32, any strides: the largest score, scaled and capped, in natural units;
   * -inf where there is none; data NULL: not wanted */
  seesaw_tensor max_logits SEESAW_ZERO;
  /* [b + 1] int32, if ragged: sequence i has the query tokens [cu_seqlens_q[i], cu_seqlens_q[i +
   * 1]), 0 up to the problem's s_q of them; the first entry is 0, the last one at most total_q */
  seesaw_tensor cu_seqlens_q SEESAW_ZERO;
  /* [b, s_q, h_q, d_rope], dtype of q, strides of its own: the other columns of the queries, if
   * d_rope is not 0 */
  seesaw_tensor q_rotary SEESAW_ZERO;
} seesaw_dense_decode_args;

/* The scale of DeepSeek's models and their kin: of a head's width before absorption, and with YaRN
 * (arXiv:2309.00071) of its factor: (d_nope + d_rope)^-0.5 m^2, m = 0.1 mscale_all_dim ln(factor) +
 * 1. factor, mscale_all_dim: of the configuration's rope_scaling; 0, 0 without one. */
static inline float seesaw_mla_softmax_scale(int64_t d_nope, int64_t d_rope, double factor,
                                             double mscale_all_dim) {
  const double m = factor > 1.0 ? 0.1 * mscale_all_dim * log(factor) + 1.0 : 1.0;
  return (float)(m * m / sqrt((double)(d_nope + d_rope)));
}

/* The functions of seesaw.h with this operation's types. */
static inline seesaw_status seesaw_dense_decode_plan_create(
    const seesaw_dense_decode_problem* problem, const seesaw_options* options, seesaw_plan** plan) {
  return seesaw_plan_create("dense_decode", problem, options, plan);
}
static inline seesaw_status seesaw_dense_decode_prepare(const seesaw_plan* plan,
                                                        const seesaw_dense_decode_args* args,
                                                        const seesaw_call* call) {
  return seesaw_plan_prepare(plan, args, call);
}
static inline seesaw_status seesaw_dense_decode_run(const seesaw_plan* plan,
                                                    const seesaw_dense_decode_args* args,
                                                    const seesaw_call* call) {
  return seesaw_plan_run(plan, args, call);
}

#if defined(__cplusplus) && __cplusplus >= 202002L
#include "seesaw/seesaw.hpp"

namespace seesaw {

/* seesaw::DenseDecode is a plan of this operation: seesaw.hpp. */
struct DenseDecodeOperation {
  using Problem = seesaw_dense_decode_problem;
  using Args = seesaw_dense_decode_args;
  static constexpr const char* kName = "dense_decode";
};
using DenseDecode = PlanOf<DenseDecodeOperation>;

}  // namespace seesaw
#endif
#endif /* SEESAW_OPS_DENSE_DECODE_H_ */
