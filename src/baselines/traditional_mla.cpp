// Traditional MLA, plain: the heads are flattened and projected to one latent of D' numbers, in
// which all heads share one attention pattern. Defined by the study notes that docs/baselines.md
// cites.
//   [1] Q = x Wq^T + bq, K = x Wk^T + bk, V = x Wv^T + bv          [B, N, H D] each
//   [2] Q' = Q Wq'^T + bq', K' = K Wk'^T + bk', V' = V Wv'^T + bv' [B, N, D'] each
//   [3] O' = softmax(Q' K'^T / sqrt(D')) V'                        scores [B, 1, N, S],
//   materialised [4] out = (O' Wr^T + br) Wo^T + bo                             reconstruction [B,
//   N, H D]
// K' and V' of a token are its row of the cache: 2 D' numbers.
#include "baselines/attention.hpp"
#include "baselines/linear.hpp"
#include "baselines/models.hpp"

namespace seesaw::baselines {

Status traditional_mla(Ops& ops, const Call& call) {
  const Problem& p = call.problem;
  const Arena::Scope scope(ops.arena());
  const int64_t d = p.d_latent;
  WeightReader weights(call);
  const Linear head_projs[] = {weights.linear(), weights.linear(), weights.linear()};
  const Linear latent_projs[] = {weights.linear(), weights.linear(), weights.linear()};
  const Linear head_reconstruction = weights.linear();
  const Linear out_proj = weights.linear();
  const KeyRows rows = key_rows(ops, call);
  const View q = ops.allocate(p.dtype, {p.batch, 1, p.tokens, d});
  const View o = ops.allocate(p.dtype, {p.batch, 1, p.tokens, d});
  const View heads = ops.allocate(p.dtype, {p.batch, 1, p.tokens, p.heads_width()});

  const View latents[] = {q, rows.fresh.slice(3, 0, d), rows.fresh.slice(3, d, 2 * d)};
  for (size_t i = 0; i < 3; ++i) {  // queries, keys, values; one after another in the same memory
    SEESAW_RETURN_IF_ERROR(linear(ops, call.x, head_projs[i], heads));        // [1]
    SEESAW_RETURN_IF_ERROR(linear(ops, heads, latent_projs[i], latents[i]));  // [2]
  }
  SEESAW_RETURN_IF_ERROR(attend(ops, call,
                                {.q = q,  // [3]
                                 .k = rows.all.slice(3, 0, d),
                                 .v = rows.all.slice(3, d, 2 * d),
                                 .out = o}));
  SEESAW_RETURN_IF_ERROR(linear(ops, o, head_reconstruction, heads));  // [4]
  return linear(ops, heads, out_proj, call.out);
}

}  // namespace seesaw::baselines
