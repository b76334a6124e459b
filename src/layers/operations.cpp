#include "layers/operations.hpp"

#include <algorithm>
#include <vector>

#include "layers/refusal.hpp"

namespace seesaw::layers {
namespace {

using baselines::Problem;
using baselines::View;

// What a wrapper of libseesaw's throws, as a Status with our own beginning.
template <typename Body>
Status status_of(Body&& body) {
  try {
    body();
    return {};
  } catch (const Error& error) {
    const std::string message = fmt::format("{}: {}", kWhere, error.what());
    switch (error.status()) {
      case SEESAW_INVALID_ARGUMENT:
        return invalid_argument(message);
      case SEESAW_INVALID_TYPE:
        return invalid_type(message);
      case SEESAW_NOT_SUPPORTED:
        return not_supported(message);
      default:
        return {StatusCode::kInternalError, message};
    }
  }
}

// [b, 1, s, h c] from column `begin` of each head on, `columns` of them: [b, s, h, columns].
seesaw_tensor heads_of(const View& view, int64_t heads, int64_t begin, int64_t columns) {
  seesaw_tensor t = make_tensor(static_cast<char*>(view.data) + begin * size_of(view.dtype),
                                static_cast<seesaw_dtype>(view.dtype),
                                {view.shape[0], view.shape[2], heads, columns});
  t.stride[0] = view.stride[0];
  t.stride[1] = view.stride[2];
  t.stride[2] = view.shape[3] / heads;
  return t;
}

// The same with the tokens of all sequences in one dimension, of a packed view: [b s, h, columns].
seesaw_tensor all_tokens(seesaw_tensor t) {
  const int64_t tokens = t.shape[0] * t.shape[1];
  for (int i = 1; i < 3; ++i) {
    t.shape[i] = t.shape[i + 1];
    t.stride[i - 1] = t.stride[i];
    t.stride[i] = t.stride[i + 1];
  }
  t.shape[0] = tokens;
  t.rank = 3;
  return t;
}

// Without the dimension of heads, which is 1.
seesaw_tensor without_heads(seesaw_tensor t) {
  const auto last = static_cast<size_t>(t.rank - 1);
  t.shape[last - 1] = t.shape[last];
  t.stride[last - 1] = t.stride[last];
  --t.rank;
  return t;
}

template <typename T>
seesaw_tensor vector_of(const std::vector<T>& values, seesaw_dtype dtype) {
  return make_tensor(values.data(), dtype, {static_cast<int64_t>(values.size())});
}

seesaw_append_args append_args(const LayerCall& call, const View& latent, const View& q) {
  const Problem& p = call.problem;
  return {.c_kv = without_heads(all_tokens(heads_of(latent, 1, 0, p.d_latent))),
          .k_rope = without_heads(all_tokens(heads_of(latent, 1, p.d_latent, p.d_rope))),
          .slot_mapping = vector_of(call.slots, SEESAW_INT64),
          .kv_cache = without_heads(call.args.kv_cache),
          .kv_scale = call.args.kv_scale,
          .positions = vector_of(call.rows, SEESAW_INT64),
          .cos_sin = make_tensor(call.cos_sin.data(), SEESAW_FLOAT32, {call.tokens(), p.d_rope}),
          .q_rope = all_tokens(heads_of(q, p.num_heads, p.d_nope, p.d_rope))};
}

seesaw_dense_decode_args decode_args(const LayerCall& call, const View& q_latent, const View& q,
                                     const View& out) {
  const Problem& p = call.problem;
  return {.q = heads_of(q_latent, p.num_heads, 0, p.d_latent),
          .kv_cache = call.args.kv_cache,
          .block_table = call.args.block_table,
          .seq_lens = vector_of(call.lengths, SEESAW_INT32),
          .out = heads_of(out, p.num_heads, 0, p.d_latent),
          .scale = p.scale,
          .kv_scale = call.args.kv_scale,
          .q_rotary = heads_of(q, p.num_heads, p.d_nope, p.d_rope)};
}

seesaw_gather_args gather_args(const LayerCall& call, int64_t i, const std::vector<int32_t>& ends,
                               const View& rows) {
  seesaw_tensor table = call.args.block_table;
  table.data = static_cast<int32_t*>(table.data) + i * table.stride[0];
  table.shape[0] = 1;
  return {.kv_cache = without_heads(call.args.kv_cache),
          .block_table = table,
          .cu_seq_lens = vector_of(ends, SEESAW_INT32),
          .kv_scale = call.args.kv_scale,
          .out = make_tensor(rows.data, static_cast<seesaw_dtype>(rows.dtype),
                             {rows.shape[2], rows.shape[3]})};
}

}  // namespace

seesaw_call Operations::memory() const {
  return {.schedule = schedule_.data(),
          .schedule_bytes = schedule_.size(),
          .workspace = workspace_.data(),
          .workspace_bytes = workspace_.size()};
}

Status Operations::plan(const LayerCall& call, Operations* operations) {
  const Problem& p = call.problem;
  const seesaw_options options{.num_threads = p.num_threads};
  // Problems are made of shapes and strides: addresses say no more than that there is something.
  void* const something = call.x.data;
  const View latent = packed(something, p.dtype, {p.batch, 1, p.tokens, p.d_latent + p.d_rope});
  const View q = packed(something, p.dtype, {p.batch, 1, p.tokens, p.num_heads * p.d_qk()});
  const View q_latent =
      packed(something, p.dtype, {p.batch, 1, p.tokens, p.num_heads * p.d_latent});
  return status_of([&] {
    operations->append_.emplace(
        Append::problem_of(
            append_args(call, latent, q),
            {.kv_format = call.args.kv_format,
             .rotary = call.interleaved ? SEESAW_ROTARY_INTERLEAVED : SEESAW_ROTARY_HALF_SPLIT}),
        options);
    size_t workspace = operations->append_->workspace_bytes();
    if (call.form == Form::kAbsorbed) {
      const seesaw_dense_decode_args args = decode_args(call, q_latent, q, q_latent);
      operations->decode_.emplace(
          DenseDecode::problem_of(args, {.kv_format = call.args.kv_format, .causal = 1}), options);
      workspace = std::max(workspace, operations->decode_->workspace_bytes());
      operations->schedule_ = AlignedBuffer(operations->decode_->schedule_bytes());
      operations->decode_->prepare(args, operations->memory());
    } else {
      const int64_t longest = *std::max_element(call.lengths.begin(), call.lengths.end());
      const View rows =
          packed(something, p.dtype, {1, 1, std::max<int64_t>(longest, 1), p.d_latent + p.d_rope});
      operations->gather_.emplace(Gather::problem_of(gather_args(call, 0, {0, 0}, rows),
                                                     {.kv_format = call.args.kv_format}),
                                  options);
      workspace = std::max(workspace, operations->gather_->workspace_bytes());
    }
    operations->workspace_ = AlignedBuffer(workspace);
  });
}

Status Operations::append(const LayerCall& call, const View& latent, const View& q) const {
  return status_of([&] { append_->run(append_args(call, latent, q), memory()); });
}

Status Operations::attend(const LayerCall& call, const View& q_latent, const View& q,
                          const View& out) const {
  return status_of([&] { decode_->run(decode_args(call, q_latent, q, out), memory()); });
}

Status Operations::gather(const LayerCall& call, int64_t i, const View& rows) const {
  const std::vector<int32_t> ends = {0, static_cast<int32_t>(rows.shape[2])};
  return status_of([&] { gather_->run(gather_args(call, i, ends, rows), memory()); });
}

}  // namespace seesaw::layers
