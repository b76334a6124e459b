// The MLA layer of DeepSeek-V2 (arXiv:2405.04434, section 2.1), step by step. L = d_latent, R =
// d_rope, V = d_v, h = heads; rows are the new tokens of all sequences.
//   [1] q = x Wq^T, or RMSNorm(x Wqa^T + bqa) Wqb^T                 [b, s, h (d_nope + R)]
//   [2] [c, r] = x Wkva^T + bkva;  c := RMSNorm(c)                  [b, s, L + R]
//   [3] append: slots of the cache = [c, rotary(r)]; q_rope,h := rotary(q_rope,h)
// Absorbed:
//   [4a] q'_h = q_nope,h W_UK,h                                     [b, s, h, L]
//   [5a] o'_h = dense_decode([q'_h, q_rope,h]; cache)               [b, s, h, L]
//   [6a] o_h = o'_h W_UV,h^T                                        [b, s, h, V]
// Expanded, a sequence of n tokens at a time:
//   [4e] gather: [c, r] of its tokens from the cache;  [k_h, v_h] = c Wkvb,h^T
//   [5e] P_h = softmax((q_nope,h k_h^T + q_rope,h r^T) scale), some queries at a time
//   [6e] o_h = P_h v_h
// Both:
//   [7] out = concat_h(o_h) Wo^T + bo
#include "layers/forward.hpp"

#include <algorithm>
#include <cstring>

#include "baselines/attention.hpp"
#include "baselines/deepseek_mla.hpp"

namespace seesaw::layers {
namespace {

using namespace baselines;

// What an expanded sequence's scores may take at once, in bytes, but for the fewest queries.
constexpr int64_t kScoreBytes = int64_t{64} << 20;
constexpr int64_t kFewestQueries = 16;

class Forward {
 public:
  Forward(Ops& ops, Pass pass, const LayerCall& call, const Operations& operations,
          std::span<const View> weights)
      : ops_(ops),
        pass_(pass),
        call_(call),
        operations_(operations),
        p_(call.problem),
        layer_{.problem = call.problem, .x = call.x, .weights = weights},
        parameters_(read_parameters(layer_)) {}

  Status run() {
    const Arena::Scope scope(ops_.arena());
    const View o = ops_.allocate(p_.dtype, {p_.batch, 1, p_.tokens, p_.num_heads * p_.d_v});
    {
      const Arena::Scope attention_scope(ops_.arena());
      const View q = ops_.allocate(p_.dtype, {p_.batch, 1, p_.tokens, p_.num_heads * p_.d_qk()});
      SEESAW_RETURN_IF_ERROR(project_query(ops_, layer_, parameters_, q));  // [1]
      SEESAW_RETURN_IF_ERROR(append_latents(q));                            // [2][3]
      SEESAW_RETURN_IF_ERROR(call_.form == Form::kAbsorbed ? absorbed(q, o) : expanded(q, o));
    }
    return linear(ops_, o, parameters_.o_proj, call_.out);  // [7]
  }

 private:
  bool runs() const { return pass_ == Pass::kRun; }

  Status append_latents(const View& q) {
    const Arena::Scope scope(ops_.arena());
    const View latent = ops_.allocate(p_.dtype, {p_.batch, 1, p_.tokens, p_.cache_width()});
    SEESAW_RETURN_IF_ERROR(linear(ops_, call_.x, parameters_.kv_a_proj, latent));
    const View c = latent.slice(3, 0, p_.d_latent);
    SEESAW_RETURN_IF_ERROR(ops_.rms_norm(
        {.x = c, .weight = parameters_.kv_a_layernorm, .out = c, .epsilon = p_.norm_epsilon}));
    return runs() ? operations_.append(call_, latent, q) : Status{};
  }

  // [b, 1, s, h c] as the heads' matrices of all rows, [1, h, b s, c].
  View by_head(const View& view) const { return split_columns(merge_rows(view), p_.num_heads); }

  // kv_b_proj by heads: rows [begin, end) of each, [1, h, end - begin, L].
  View up_projection(int64_t begin, int64_t end) const {
    return packed(parameters_.kv_b_proj.data, p_.dtype,
                  {1, p_.num_heads, p_.d_nope + p_.d_v, p_.d_latent})
        .slice(2, begin, end);
  }

  Status absorbed(const View& q, const View& o) {
    const Dims latents{p_.batch, 1, p_.tokens, p_.num_heads * p_.d_latent};
    const View q_latent = ops_.allocate(p_.dtype, latents);
    const View o_latent = ops_.allocate(p_.dtype, latents);
    SEESAW_RETURN_IF_ERROR(ops_.gemm({.a = by_head(q).slice(3, 0, p_.d_nope),
                                      .b = up_projection(0, p_.d_nope),
                                      .c = by_head(q_latent)}));  // [4a]
    if (runs()) {
      SEESAW_RETURN_IF_ERROR(operations_.attend(call_, q_latent, q, o_latent));  // [5a]
    }
    return ops_.gemm({.a = by_head(o_latent),
                      .b = up_projection(p_.d_nope, p_.d_nope + p_.d_v).transposed(),
                      .c = by_head(o)});  // [6a]
  }

  Status expanded(const View& q, const View& o) {
    if (runs()) {
      std::memset(o.data, 0, static_cast<size_t>(o.bytes()));  // rows without a token keep this
    }
    for (int64_t i = 0; i < p_.batch; ++i) {
      const int64_t fresh = call_.new_tokens(i);
      if (fresh > 0) {
        const auto last = [&](const View& all) {
          return all.slice(0, i, i + 1).slice(2, p_.tokens - fresh, p_.tokens);
        };
        SEESAW_RETURN_IF_ERROR(expand_sequence(i, last(q), last(o)));
      }
    }
    return {};
  }

  // q, o: the sequence's new tokens, [1, 1, fresh, h ...].
  Status expand_sequence(int64_t i, const View& q, const View& o) {
    const Arena::Scope scope(ops_.arena());
    const int64_t keys = call_.lengths[static_cast<size_t>(i)];
    const int64_t fresh = q.shape[2];
    const View rows = ops_.allocate(p_.dtype, {1, 1, keys, p_.cache_width()});
    const View kv = ops_.allocate(p_.dtype, {1, 1, keys, p_.num_heads * (p_.d_nope + p_.d_v)});
    if (runs()) {
      SEESAW_RETURN_IF_ERROR(operations_.gather(call_, i, rows));  // [4e]
    }
    const Linear up{.weight = parameters_.kv_b_proj, .bias = {}};
    SEESAW_RETURN_IF_ERROR(linear(ops_, rows.slice(3, 0, p_.d_latent), up, kv));

    const Call sequence{.problem = p_, .past = keys - fresh};
    const int64_t queries = std::max(kScoreBytes / (4 * p_.num_heads * keys), kFewestQueries);
    for (int64_t begin = 0; begin < fresh; begin += queries) {
      const int64_t end = std::min(begin + queries, fresh);
      const int64_t seen = sequence.past + end;
      SEESAW_RETURN_IF_ERROR(attend(sequence, begin, q.slice(2, begin, end), rows.slice(2, 0, seen),
                                    kv.slice(2, 0, seen), o.slice(2, begin, end)));
    }
    return {};
  }

  // Queries from number `begin` of the sequence's new ones on.
  Status attend(const Call& sequence, int64_t begin, const View& q, const View& rows,
                const View& kv, const View& o) {
    const Arena::Scope scope(ops_.arena());
    const View q_heads = split_columns(q, p_.num_heads);
    const View kv_heads = split_columns(kv, p_.num_heads);
    const ScoreBuffers buffers =
        allocate_scores(ops_, sequence, {1, p_.num_heads, q.shape[2], kv.shape[2]});
    SEESAW_RETURN_IF_ERROR(ops_.gemm({.a = q_heads.slice(3, 0, p_.d_nope),
                                      .b = kv_heads.slice(3, 0, p_.d_nope).transposed(),
                                      .c = buffers.scores,
                                      .part = Part::kAttention}));
    SEESAW_RETURN_IF_ERROR(
        ops_.gemm({.a = q_heads.slice(3, p_.d_nope, p_.d_qk()),
                   .b = rows.slice(3, p_.d_latent, p_.cache_width()).transposed(),
                   .c = buffers.scores,
                   .accumulate = true,
                   .part = Part::kAttention}));
    SEESAW_RETURN_IF_ERROR(masked_softmax(ops_, sequence, buffers, begin));  // [5e]
    return ops_.gemm({.a = buffers.probabilities,
                      .b = kv_heads.slice(3, p_.d_nope, p_.d_nope + p_.d_v),
                      .c = split_columns(o, p_.num_heads),
                      .part = Part::kAttention});  // [6e]
  }

  Ops& ops_;
  Pass pass_;
  const LayerCall& call_;
  const Operations& operations_;
  const Problem& p_;
  Call layer_;
  DeepSeekParameters parameters_;
};

}  // namespace

Status forward(Ops& ops, Pass pass, const LayerCall& call, const Operations& operations,
               std::span<const View> weights) {
  return Forward(ops, pass, call, operations, weights).run();
}

}  // namespace seesaw::layers
