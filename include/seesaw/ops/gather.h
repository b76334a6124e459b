/* Gathers cached tokens into contiguous rows, as they are stored or as numbers. Which tokens:
 *   by pages: row cu_seq_lens[i] + j of out is token starts[i] + j of sequence i, found through its
 *             row of the block table, for j below cu_seq_lens[i + 1] - cu_seq_lens[i];
 *   by slots: row j of out is the token at slots[j] (page * page_size + place); a negative slot, or
 *             one behind the cache, gives a row of zeros.
 * Exactly one of block_table and slots is given. Rows of out behind cu_seq_lens[b] are left alone.
 * A row as stored is the record's bytes, row then tail; as numbers it is its columns, each element
 * times its scale in float32 (then times the cache's own), rounded once to out's dtype: every
 * kernel gives the same bits, but for which NaN a NaN is.
 * On the CPU lengths, starts and page ids are checked before anything is written. On a GPU they are
 * with the option check_data; without it a page id that is none gives a row of zeros, and nothing
 * leads out of the tensors. */
#ifndef SEESAW_OPS_GATHER_H_
#define SEESAW_OPS_GATHER_H_

#include "seesaw/seesaw.h"

/* What is asked, before any data. 0 in a field: its default. */
typedef struct seesaw_gather_problem {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_gather_problem);
  int32_t kv_format SEESAW_ZERO; /* seesaw_format of the cache; default: bfloat16 */
  /* float32, bfloat16, float16, or uint8: rows of a byte format as they are stored; default: the
   * format's own */
  int32_t out_dtype SEESAW_ZERO;
  int64_t rows SEESAW_ZERO;       /* the most rows of out of one call; a call may bring fewer */
  int64_t batch SEESAW_ZERO;      /* by pages: the most sequences of one call; default 1 */
  int64_t columns SEESAW_ZERO;    /* of a token, d_latent + d_rope; default: the format's, 576 */
  int64_t page_size SEESAW_ZERO;  /* tokens of a page, >= 1; default 64 */
  int64_t kv_columns SEESAW_ZERO; /* the cache's last dimension; default: the format's */
  int64_t kv_page_stride SEESAW_ZERO;  /* elements; default: packed */
  int64_t kv_token_stride SEESAW_ZERO; /* elements; default: packed */
  int64_t out_columns SEESAW_ZERO;     /* out's last dimension; default: columns, or the bytes */
  int32_t slot_dtype SEESAW_ZERO;      /* int64 (the default) or int32 */
  int32_t reserved SEESAW_ZERO;
} seesaw_gather_problem;

/* The tensors of one call, all on the planned device. There is nothing to prepare. */
typedef struct seesaw_gather_args {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_gather_args);
  seesaw_tensor kv_cache SEESAW_ZERO; /* [num_pages, page_size, kv_columns] */
  /* by pages: [b, max_pages] int32 page ids, of which only those that tokens need are read; [b + 1]
   * int32 sums of lengths, from 0 up to n at most; [b] int32 first tokens (data NULL: 0) */
  seesaw_tensor block_table SEESAW_ZERO;
  seesaw_tensor cu_seq_lens SEESAW_ZERO;
  seesaw_tensor starts SEESAW_ZERO;
  seesaw_tensor slots SEESAW_ZERO; /* by slots: [n] */
  /* [1] float32, for formats of one scale (fp8_576): what is stored is multiplied by it; NULL: 1.
   * Others do not read it, nor do rows of bytes */
  seesaw_tensor kv_scale SEESAW_ZERO;
  seesaw_tensor out SEESAW_ZERO; /* [n, out_columns]: shares no memory with the cache */
} seesaw_gather_args;

/* The functions of seesaw.h with this operation's types. */
static inline seesaw_status seesaw_gather_plan_create(const seesaw_gather_problem* problem,
                                                      const seesaw_options* options,
                                                      seesaw_plan** plan) {
  return seesaw_plan_create("gather", problem, options, plan);
}
static inline seesaw_status seesaw_gather_run(const seesaw_plan* plan,
                                              const seesaw_gather_args* args,
                                              const seesaw_call* call) {
  return seesaw_plan_run(plan, args, call);
}

#if defined(__cplusplus) && __cplusplus >= 202002L
#include "seesaw/seesaw.hpp"

namespace seesaw {

/* seesaw::Gather is a plan of this operation: seesaw.hpp. */
struct GatherOperation {
  using Problem = seesaw_gather_problem;
  using Args = seesaw_gather_args;
  static constexpr const char* kName = "gather";
};
using Gather = PlanOf<GatherOperation>;

}  // namespace seesaw
#endif
#endif /* SEESAW_OPS_GATHER_H_ */
