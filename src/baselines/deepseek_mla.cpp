// MLA of DeepSeek-V2 (arXiv:2405.04434, section 2.1 and appendix C), with the parameters of the
// published checkpoints. L = d_latent, R = d_rope, V = d_v; S = keys.
// Both forms:
//   [1] q = x Wq^T, or RMSNorm(x Wqa^T + bqa) Wqb^T      [B, N, H (d_nope + R)]; q_h = [qN_h, qR_h]
//   [2] [c, r] = x Wkva^T + bkva                         [B, N, L + R]
//   [3] cache row = [RMSNorm(c), rope(r)];  qR_h := rope(qR_h)
// Expanded: every token's keys and values, of every head
//   [4e] [kN_h, v_h] = cache[:, 0:L] Wkvb,h^T            [B, S, H (d_nope + V)]
//   [5e] P_h = softmax((qN_h kN_h^T + qR_h r^T) scale);  o_h = P_h v_h
// Absorbed, with Wkvb,h = [W_UK,h; W_UV,h]: the latents themselves
//   [4a] q'_h = [qN_h W_UK,h, qR_h]                      [B, N, H (L + R)]
//   [5a] P_h = softmax(q'_h cache^T scale);  o'_h = P_h cache[:, 0:L];  o_h = o'_h W_UV,h^T
// Both:
//   [6] out = concat_h(o_h) Wo^T + bo
// qN_h kN_h^T = qN_h W_UK,h c^T is the same sum in another order: docs/guide/01-mla.md.
#include "baselines/deepseek_mla.hpp"

#include "baselines/attention.hpp"
#include "baselines/models.hpp"

namespace seesaw::baselines {

DeepSeekParameters read_parameters(const Call& call) {
  WeightReader weights(call);
  DeepSeekParameters parameters;
  if (call.problem.d_q_latent == 0) {
    parameters.q_proj = weights.linear(Bias::kNone);
  } else {
    parameters.q_a_proj = weights.linear();
    parameters.q_a_layernorm = weights.vector();
    parameters.q_b_proj = weights.linear(Bias::kNone);
  }
  parameters.kv_a_proj = weights.linear();
  parameters.kv_a_layernorm = weights.vector();
  parameters.kv_b_proj = weights.linear(Bias::kNone).weight;
  parameters.o_proj = weights.linear();
  return parameters;
}

Status project_query(Ops& ops, const Call& call, const DeepSeekParameters& parameters,
                     const View& q) {
  const Problem& p = call.problem;
  if (p.d_q_latent == 0) {
    return linear(ops, call.x, parameters.q_proj, q);
  }
  const Arena::Scope scope(ops.arena());
  const View latent = ops.allocate(p.dtype, {p.batch, 1, p.tokens, p.d_q_latent});
  SEESAW_RETURN_IF_ERROR(linear(ops, call.x, parameters.q_a_proj, latent));
  SEESAW_RETURN_IF_ERROR(ops.rms_norm(
      {.x = latent, .weight = parameters.q_a_layernorm, .out = latent, .epsilon = p.norm_epsilon}));
  return linear(ops, latent, parameters.q_b_proj, q);
}

namespace {

Status rotate(Ops& ops, const Call& call, const View& x, const View& out) {
  return ops.rotary({.x = x,
                     .out = out,
                     .positions = call.positions,
                     .first_position = call.past,
                     .frequencies = call.problem.rope});
}

// [2][3] The new tokens' rows of the cache.
Status write_latents(Ops& ops, const Call& call, const DeepSeekParameters& parameters,
                     const View& fresh) {
  const Problem& p = call.problem;
  const Arena::Scope scope(ops.arena());
  const int64_t width = p.cache_width();
  const View latent = ops.allocate(p.dtype, {p.batch, 1, p.tokens, width});
  SEESAW_RETURN_IF_ERROR(linear(ops, call.x, parameters.kv_a_proj, latent));
  SEESAW_RETURN_IF_ERROR(ops.rms_norm({.x = latent.slice(3, 0, p.d_latent),
                                       .weight = parameters.kv_a_layernorm,
                                       .out = fresh.slice(3, 0, p.d_latent),
                                       .epsilon = p.norm_epsilon}));
  return rotate(ops, call, latent.slice(3, p.d_latent, width), fresh.slice(3, p.d_latent, width));
}

// [4e][5e] o [B, 1, N, H V].
Status attend_expanded(Ops& ops, const Call& call, const View& kv_b_proj, const View& q,
                       const View& cache, const View& o) {
  const Problem& p = call.problem;
  const View expanded =
      ops.allocate(p.dtype, {p.batch, 1, call.keys(), p.num_heads * (p.d_nope + p.d_v)});
  const auto expand = call.cache.present() ? linear_per_sequence : linear;
  SEESAW_RETURN_IF_ERROR(
      expand(ops, cache.slice(3, 0, p.d_latent), {.weight = kv_b_proj, .bias = {}}, expanded));
  const View q_heads = split_columns(q, p.num_heads);
  const View kv_heads = split_columns(expanded, p.num_heads);
  const View q_rope = q_heads.slice(3, p.d_nope, p.d_qk());
  SEESAW_RETURN_IF_ERROR(rotate(ops, call, q_rope, q_rope));

  const ScoreBuffers buffers =
      allocate_scores(ops, call, {p.batch, p.num_heads, p.tokens, call.keys()});
  SEESAW_RETURN_IF_ERROR(ops.gemm({.a = q_heads.slice(3, 0, p.d_nope),
                                   .b = kv_heads.slice(3, 0, p.d_nope).transposed(),
                                   .c = buffers.scores,
                                   .part = Part::kAttention}));
  SEESAW_RETURN_IF_ERROR(ops.gemm({.a = q_rope,
                                   .b = cache.slice(3, p.d_latent, p.cache_width()).transposed(),
                                   .c = buffers.scores,
                                   .accumulate = true,
                                   .part = Part::kAttention}));
  SEESAW_RETURN_IF_ERROR(masked_softmax(ops, call, buffers));
  return ops.gemm({.a = buffers.probabilities,
                   .b = kv_heads.slice(3, p.d_nope, p.d_nope + p.d_v),
                   .c = split_columns(o, p.num_heads),
                   .part = Part::kAttention});
}

// [B, 1, N, H C] as the heads' matrices of all sequences' rows, [1, H, B N, C].
View heads_of_all_rows(const View& view, int64_t num_heads) {
  return split_columns(merge_rows(view), num_heads);
}

// [B, 1, N, H C] as one row a (token, head) pair, [B, 1, N H, C].
View token_head_rows(const View& view, int64_t num_heads) {
  const int64_t columns = view.shape[3] / num_heads;
  return packed(view.data, view.dtype, {view.shape[0], 1, view.shape[2] * num_heads, columns});
}

// Rows of (token, head) pairs, [B, 1, N H, S], as [B, H, N, S].
View by_head(const View& rows, int64_t num_heads) {
  View heads = rows;
  heads.shape = {rows.shape[0], num_heads, rows.shape[2] / num_heads, rows.shape[3]};
  heads.stride = {rows.stride[0], rows.stride[2], num_heads * rows.stride[2], rows.stride[3]};
  return heads;
}

// [4a][5a] o [B, 1, N, H V]. All heads meet the same keys, so that one product a sequence takes all
// (token, head) pairs as its rows.
Status attend_absorbed(Ops& ops, const Call& call, const View& kv_b_proj, const View& q,
                       const View& cache, const View& o) {
  const Problem& p = call.problem;
  const int64_t heads = p.num_heads;
  const int64_t width = p.cache_width();
  const View kv_b = packed(kv_b_proj.data, p.dtype, {1, heads, p.d_nope + p.d_v, p.d_latent});
  const View w_uk = kv_b.slice(2, 0, p.d_nope);                 // [1, H, d_nope, L]
  const View w_uv = kv_b.slice(2, p.d_nope, p.d_nope + p.d_v);  // [1, H, V, L]
  const View q_latent = ops.allocate(p.dtype, {p.batch, 1, p.tokens, heads * width});
  const View o_latent = ops.allocate(p.dtype, {p.batch, 1, p.tokens, heads * p.d_latent});

  SEESAW_RETURN_IF_ERROR(
      ops.gemm({.a = heads_of_all_rows(q, heads).slice(3, 0, p.d_nope),
                .b = w_uk,
                .c = heads_of_all_rows(q_latent, heads).slice(3, 0, p.d_latent)}));
  SEESAW_RETURN_IF_ERROR(rotate(ops, call, split_columns(q, heads).slice(3, p.d_nope, p.d_qk()),
                                split_columns(q_latent, heads).slice(3, p.d_latent, width)));
  const ScoreBuffers rows = allocate_scores(ops, call, {p.batch, 1, p.tokens * heads, call.keys()});
  SEESAW_RETURN_IF_ERROR(ops.gemm({.a = token_head_rows(q_latent, heads),
                                   .b = cache.transposed(),
                                   .c = rows.scores,
                                   .part = Part::kAttention}));
  SEESAW_RETURN_IF_ERROR(
      masked_softmax(ops, call, {by_head(rows.scores, heads), by_head(rows.probabilities, heads)}));
  SEESAW_RETURN_IF_ERROR(ops.gemm({.a = rows.probabilities,
                                   .b = cache.slice(3, 0, p.d_latent),
                                   .c = token_head_rows(o_latent, heads),
                                   .part = Part::kAttention}));
  return ops.gemm({.a = heads_of_all_rows(o_latent, heads),
                   .b = w_uv.transposed(),
                   .c = heads_of_all_rows(o, heads)});
}

using Attend = Status (*)(Ops& ops, const Call& call, const View& kv_b_proj, const View& q,
                          const View& cache, const View& o);

Status deepseek_mla(Ops& ops, const Call& call, Attend attend_heads) {
  const Problem& p = call.problem;
  const Arena::Scope scope(ops.arena());
  const DeepSeekParameters parameters = read_parameters(call);
  const KeyRows rows = key_rows(ops, call);
  const View o = ops.allocate(p.dtype, {p.batch, 1, p.tokens, p.num_heads * p.d_v});
  {
    const Arena::Scope attention_scope(ops.arena());
    const View q = ops.allocate(p.dtype, {p.batch, 1, p.tokens, p.num_heads * p.d_qk()});
    SEESAW_RETURN_IF_ERROR(project_query(ops, call, parameters, q));           // [1]
    SEESAW_RETURN_IF_ERROR(write_latents(ops, call, parameters, rows.fresh));  // [2][3]
    SEESAW_RETURN_IF_ERROR(attend_heads(ops, call, parameters.kv_b_proj, q, rows.all, o));
  }
  return linear(ops, o, parameters.o_proj, call.out);  // [6]
}

}  // namespace

Status deepseek_mla_expanded(Ops& ops, const Call& call) {
  return deepseek_mla(ops, call, attend_expanded);
}

Status deepseek_mla_absorbed(Ops& ops, const Call& call) {
  return deepseek_mla(ops, call, attend_absorbed);
}

}  // namespace seesaw::baselines
