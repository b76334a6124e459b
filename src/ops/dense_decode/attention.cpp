#include "ops/dense_decode/attention.hpp"

namespace seesaw::dense_decode {
namespace {

// q or out: [b, s_q, h, d], or ragged [total_q, h, d].
attention::Rows rows_of(const Tensor& tensor, bool ragged) {
  return ragged
             ? attention::Rows{tensor.data, 0, tensor.stride[0], tensor.stride[1]}
             : attention::Rows{tensor.data, tensor.stride[0], tensor.stride[1], tensor.stride[2]};
}

// A number a row: [b, h_q, s_q], or ragged [h_q, total_q].
attention::Rows numbers_of(const Tensor& tensor, bool ragged) {
  return ragged
             ? attention::Rows{tensor.data, 0, tensor.stride[1], tensor.stride[0]}
             : attention::Rows{tensor.data, tensor.stride[0], tensor.stride[2], tensor.stride[1]};
}

}  // namespace

attention::Problem attention_of(const DenseDecodeProblem& problem) {
  const int64_t element = size_of(storage_of(problem.format().id));
  attention::Problem result;
  result.items = problem.batch;
  result.s_q = problem.s_q;
  result.h_q = problem.h_q;
  result.h_kv = problem.h_kv;
  result.d_qk = problem.d_qk;
  result.d_v = problem.d_v;
  result.d_rope = problem.d_rope;
  result.q_type = problem.q_type();
  result.streams[0] = {
      .kind = attention::StreamKind::kPages,
      .format = problem.format(),
      .page_size = problem.page_size,
      .most_tokens = problem.max_tokens(),
      .page_stride_bytes = problem.kv_page_stride * element,
      .row_stride_bytes = row_stride_bytes(problem.format(), problem.kv_token_stride),
      .head_stride_bytes = problem.h_kv > 1 ? problem.kv_head_stride * element : 0};
  result.masks = {
      .causal = problem.causal != 0, .window = problem.window, .tree = problem.tree_mask != 0};
  result.ragged = problem.ragged != 0;
  result.soft_cap = problem.soft_cap != 0;
  result.sinks = problem.sinks != 0;
  result.max_logits = problem.max_logits != 0;
  result.lse_base = problem.lse();
  result.empty_lse = problem.lse_if_empty();
  return result;
}

attention::Call call_of(const DenseDecodeProblem& problem, const Args& args, const Call& call) {
  const int64_t element = element_bytes(args.kv_cache);
  const bool ragged = problem.ragged != 0;
  attention::Call result;
  result.items = batch_of(args);
  result.q = rows_of(args.q, ragged);
  result.q_rotary = rows_of(args.q_rotary, ragged);
  result.out = rows_of(args.out, ragged);
  result.lse = numbers_of(args.lse, ragged);
  result.max_logits = numbers_of(args.max_logits, ragged);
  result.query_begin = static_cast<const int32_t*>(args.cu_seqlens_q.data);
  result.streams[0] = {
      .cache = args.kv_cache.data,
      .pages = args.kv_cache.shape[0],
      .page_stride_bytes = problem.kv_page_stride * element,
      .row_stride_bytes = row_stride_bytes(problem.format(), problem.kv_token_stride),
      .head_stride_bytes = problem.kv_head_stride * element,
      .ids = static_cast<const int32_t*>(args.block_table.data),
      .ids_stride_sequence = args.block_table.stride[0],
      .lengths = static_cast<const int32_t*>(args.seq_lens.data),
      .lengths_stride = args.seq_lens.stride[0],
      .scale = static_cast<const float*>(args.kv_scale.data),
  };
  result.tree_mask = static_cast<const uint8_t*>(args.tree_mask.data);
  result.tree_stride_sequence = ragged ? 0 : args.tree_mask.stride[0];
  result.tree_stride_token = args.tree_mask.stride[ragged ? 0 : 1];
  result.sinks = static_cast<const float*>(args.sinks.data);
  result.scale = args.scale;
  result.soft_cap = args.soft_cap;
  result.workspace = call.workspace;
  result.schedule = call.schedule;
  return result;
}

}  // namespace seesaw::dense_decode
