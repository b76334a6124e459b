#include "baselines/attention.hpp"

#include "base/math.hpp"

namespace seesaw::baselines {

ScoreBuffers allocate_scores(Ops& ops, const Call& call, Dims shape) {
  constexpr int64_t kRowMultiple = 32;  // 64 bytes of 16-bit elements
  const int64_t keys = shape[3];
  shape[3] = round_up(keys, kRowMultiple);
  const View scores = ops.allocate(DType::kFloat32, shape).slice(3, 0, keys);
  if (call.problem.dtype == DType::kFloat32) {
    return {scores, scores};
  }
  return {scores, ops.allocate(call.problem.dtype, shape).slice(3, 0, keys)};
}

Status masked_softmax(Ops& ops, const Call& call, const ScoreBuffers& buffers,
                      int64_t query_begin) {
  const int64_t query_end = query_begin + buffers.scores.shape[2];
  return ops.softmax(
      {.scores = buffers.scores,
       .mask = call.mask.present() ? call.mask.slice(2, query_begin, query_end) : View{},
       .probabilities = buffers.probabilities,
       .scale = call.problem.scale,
       .visible = call.problem.causal ? Visible::kCausal : Visible::kAll,
       .first_position = call.past + query_begin});
}

Status attend(Ops& ops, const Call& call, const Attention& attention) {
  const Arena::Scope scope(ops.arena());
  const View& q = attention.q;
  const ScoreBuffers buffers =
      allocate_scores(ops, call, {q.shape[0], q.shape[1], q.shape[2], call.keys()});
  SEESAW_RETURN_IF_ERROR(ops.gemm(
      {.a = q, .b = attention.k.transposed(), .c = buffers.scores, .part = Part::kAttention}));
  SEESAW_RETURN_IF_ERROR(masked_softmax(ops, call, buffers, attention.query_begin));
  return ops.gemm(
      {.a = buffers.probabilities, .b = attention.v, .c = attention.out, .part = Part::kAttention});
}

KeyRows key_rows(Ops& ops, const Call& call) {
  const Problem& p = call.problem;
  const View rows = call.cache.present()
                        ? call.cache
                        : ops.allocate(p.dtype, {p.batch, 1, p.tokens, p.cache_width()});
  return {rows.slice(2, 0, call.keys()), rows.slice(2, call.past, call.keys())};
}

}  // namespace seesaw::baselines
