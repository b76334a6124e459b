/* Appends tokens to a paged cache, in any format: for token i of t with slot s = slot_mapping[i],
 *   page s / page_size, place s % page_size:  record of (c_kv[i, :], rotated k_rope[i, :]).
 * A negative slot is skipped. Slots that are not negative must differ. Rotary embedding, if asked
 * for, turns k_rope on its way into the cache, and q_rope in place:
 *   (x, y) -> (x cos - y sin, y cos + x sin), cos and sin from cos_sin[positions[i], :],
 * each product, difference and sum rounded to float32, and the result once to what is stored.
 * Quantising formats have their scales computed or given; docs/cache-formats.md has the rules.
 * Elements that are stored in the type they arrive in, and not turned, keep their bits. Every
 * kernel writes the same bytes, and none but those of the records: padding stays as it is.
 *
 * On the CPU a slot behind the cache, a position outside of cos_sin, and a scale that is not
 * positive and finite are refused before anything is written. On a GPU, where nobody waits for the
 * data, such a slot is skipped, what is turned at such a position is NaN, and such a scale is NaN,
 * unless check_data or SEESAW_CHECK has the first of them refused.
 *
 * The latent vector and the shared rotary key are those of DeepSeek-V2 (arXiv:2405.04434), section
 * 2.1. */
#ifndef SEESAW_OPS_APPEND_H_
#define SEESAW_OPS_APPEND_H_

#include "seesaw/seesaw.h"

/* What is asked, before any data. 0 in a field: its default. */
typedef struct seesaw_append_problem {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_append_problem);
  int32_t dtype SEESAW_ZERO;     /* of c_kv, k_rope and q_rope: float32, bfloat16, float16 */
  int32_t kv_format SEESAW_ZERO; /* seesaw_format of the cache; default: dtype's */
  int64_t tokens SEESAW_ZERO;    /* the most tokens of one call; a call may bring fewer */
  int64_t d_latent SEESAW_ZERO;  /* columns of c_kv; default: the format's, or 512 */
  /* columns of k_rope; -1: none; default: the format's (which may be none), of a plain format what
   * kv_columns leaves of d_latent, or 64 */
  int64_t d_rope SEESAW_ZERO;
  int64_t page_size SEESAW_ZERO;       /* tokens of a page, >= 1; default 64 */
  int64_t kv_columns SEESAW_ZERO;      /* the cache's last dimension; default: the format's */
  int64_t kv_page_stride SEESAW_ZERO;  /* elements; default: packed */
  int64_t kv_token_stride SEESAW_ZERO; /* elements; default: packed */
  int32_t scales SEESAW_ZERO;          /* seesaw_scale_rule; default: powers of two */
  int32_t rotary SEESAW_ZERO;          /* seesaw_rotary; default: none, k_rope comes rotated */
  int64_t h_q SEESAW_ZERO;             /* heads of q_rope; default 1 */
  int32_t cos_sin_dtype SEESAW_ZERO;   /* float32 (the default), bfloat16 or float16 */
  int32_t reserved SEESAW_ZERO;
} seesaw_append_problem;

/* The tensors of one call, all on the planned device. There is nothing to prepare. */
typedef struct seesaw_append_args {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_append_args);
  seesaw_tensor c_kv SEESAW_ZERO;         /* [t, d_latent], t <= the plan's tokens */
  seesaw_tensor k_rope SEESAW_ZERO;       /* [t, d_rope]; data NULL if d_rope is none */
  seesaw_tensor slot_mapping SEESAW_ZERO; /* [t] int64; negative: skipped */
  /* [num_pages, page_size, kv_columns]: written at the slots, nowhere else */
  seesaw_tensor kv_cache SEESAW_ZERO;
  /* [1] float32, for formats of one scale (fp8_576): what is stored is divided by it; NULL: 1 */
  seesaw_tensor kv_scale SEESAW_ZERO;
  /* [t, scales of a token] float32, for scales = given alone: positive and finite */
  seesaw_tensor scales SEESAW_ZERO;
  seesaw_tensor positions SEESAW_ZERO; /* [t] int64, for rotary: rows of cos_sin */
  /* [max_position, d_rope], for rotary: the cosines of d_rope / 2 frequencies, then their sines */
  seesaw_tensor cos_sin SEESAW_ZERO;
  /* [t, h_q, d_rope], for rotary alone: turned in place, of skipped tokens too; data NULL if not
   * wanted */
  seesaw_tensor q_rope SEESAW_ZERO;
  /* [1] int64: grows by the number of values that were too large for their scale; NULL: not counted
   */
  seesaw_tensor saturated SEESAW_ZERO;
} seesaw_append_args;

/* The functions of seesaw.h with this operation's types. */
static inline seesaw_status seesaw_append_plan_create(const seesaw_append_problem* problem,
                                                      const seesaw_options* options,
                                                      seesaw_plan** plan) {
  return seesaw_plan_create("append", problem, options, plan);
}
static inline seesaw_status seesaw_append_run(const seesaw_plan* plan,
                                              const seesaw_append_args* args,
                                              const seesaw_call* call) {
  return seesaw_plan_run(plan, args, call);
}

#if defined(__cplusplus) && __cplusplus >= 202002L
#include "seesaw/seesaw.hpp"

namespace seesaw {

/* seesaw::Append is a plan of this operation: seesaw.hpp. */
struct AppendOperation {
  using Problem = seesaw_append_problem;
  using Args = seesaw_append_args;
  static constexpr const char* kName = "append";
};
using Append = PlanOf<AppendOperation>;

}  // namespace seesaw
#endif
#endif /* SEESAW_OPS_APPEND_H_ */
