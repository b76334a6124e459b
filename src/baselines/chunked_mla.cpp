// Traditional MLA, memory-efficient: one combined projection, and queries in chunks, so that scores
// take chunk_size rows instead of N. Defined by the study notes that docs/baselines.md cites.
//   [1] [Q_unused, Q', K', V'] = x Wc^T + bc            [B, N, H D + 3 D']
//   for queries [begin, end) of at most chunk_size:
//   [2]   O'[begin:end] = softmax(Q'[begin:end] K'^T / sqrt(D')) V'    scores [B, 1, chunk_size,
//   S],
//                                                       the mask's rows [begin, end)
//   [3] out = (O' Wr^T + br) Wo^T + bo
// The definition projects a standard query, H D columns, that the latent path never reads. They
// cost time and memory here as they do there, unless the problem asks to skip them.
#include <algorithm>

#include "baselines/attention.hpp"
#include "baselines/linear.hpp"
#include "baselines/models.hpp"

namespace seesaw::baselines {
namespace {

// A linear map's last rows, [begin, end of its outputs).
Linear outputs_from(const Linear& map, int64_t begin) {
  const int64_t end = map.weight.shape[2];
  return {map.weight.slice(2, begin, end),
          map.bias.present() ? map.bias.slice(3, begin, end) : View{}};
}

}  // namespace

Status chunked_mla(Ops& ops, const Call& call) {
  const Problem& p = call.problem;
  const Arena::Scope scope(ops.arena());
  const int64_t d = p.d_latent;
  WeightReader weights(call);
  const Linear combined_proj = weights.linear();
  const Linear head_reconstruction = weights.linear();
  const Linear out_proj = weights.linear();
  const int64_t unused = p.skip_unused ? 0 : p.heads_width();
  const View combined = ops.allocate(p.dtype, {p.batch, 1, p.tokens, unused + 3 * d});
  const View o = ops.allocate(p.dtype, {p.batch, 1, p.tokens, d});

  SEESAW_RETURN_IF_ERROR(
      linear(ops, call.x, outputs_from(combined_proj, p.heads_width() - unused), combined));  // [1]
  const View q = combined.slice(3, unused, unused + d);
  View kv = combined.slice(3, unused + d, unused + 3 * d);
  if (call.cache.present()) {
    const KeyRows rows = key_rows(ops, call);
    SEESAW_RETURN_IF_ERROR(ops.copy(kv, rows.fresh));
    kv = rows.all;
  }
  for (int64_t begin = 0; begin < p.tokens; begin += p.chunk_size) {
    const int64_t end = std::min(begin + p.chunk_size, p.tokens);
    SEESAW_RETURN_IF_ERROR(attend(ops, call,
                                  {.q = q.slice(2, begin, end),  // [2]
                                   .k = kv.slice(3, 0, d),
                                   .v = kv.slice(3, d, 2 * d),
                                   .out = o.slice(2, begin, end),
                                   .query_begin = begin}));
  }
  const View heads = ops.allocate(p.dtype, {p.batch, 1, p.tokens, p.heads_width()});
  SEESAW_RETURN_IF_ERROR(linear(ops, o, head_reconstruction, heads));  // [3]
  return linear(ops, heads, out_proj, call.out);
}

}  // namespace seesaw::baselines
