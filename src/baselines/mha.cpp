// Multi-head attention, arXiv:1706.03762, section 3.2.2.
//   [1] Q = x Wq^T + bq, K = x Wk^T + bk, V = x Wv^T + bv      [B, N, H D] each
//   [2] O_h = softmax(Q_h K_h^T / sqrt(D)) V_h                 scores [B, H, N, S]
//   [3] out = concat_h(O_h) Wo^T + bo                          [B, N, d_model]
// K and V of a token are its row of the cache: 2 H D numbers.
#include "baselines/attention.hpp"
#include "baselines/linear.hpp"
#include "baselines/models.hpp"

namespace seesaw::baselines {

Status mha(Ops& ops, const Call& call) {
  const Problem& p = call.problem;
  const Arena::Scope scope(ops.arena());
  const int64_t width = p.heads_width();
  WeightReader weights(call);
  const Linear q_proj = weights.linear();
  const Linear k_proj = weights.linear();
  const Linear v_proj = weights.linear();
  const Linear out_proj = weights.linear();
  const KeyRows rows = key_rows(ops, call);
  const View q = ops.allocate(p.dtype, {p.batch, 1, p.tokens, width});
  const View o = ops.allocate(p.dtype, {p.batch, 1, p.tokens, width});

  SEESAW_RETURN_IF_ERROR(linear(ops, call.x, q_proj, q));  // [1]
  SEESAW_RETURN_IF_ERROR(linear(ops, call.x, k_proj, rows.fresh.slice(3, 0, width)));
  SEESAW_RETURN_IF_ERROR(linear(ops, call.x, v_proj, rows.fresh.slice(3, width, 2 * width)));
  SEESAW_RETURN_IF_ERROR(
      attend(ops, call,
             {.q = split_columns(q, p.num_heads),  // [2]
              .k = split_columns(rows.all.slice(3, 0, width), p.num_heads),
              .v = split_columns(rows.all.slice(3, width, 2 * width), p.num_heads),
              .out = split_columns(o, p.num_heads)}));
  return linear(ops, o, out_proj, call.out);  // [3]
}

}  // namespace seesaw::baselines
