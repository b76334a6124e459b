// What the tables cannot say: fields of the problem against each other, tensors against each other,
// and data in host memory.
#include "ops/sparse_prefill/problem.hpp"

#include <string_view>

#include "attention/columns.hpp"
#include "attention/selection.hpp"
#include "base/message.hpp"
#include "core/cache_shape.hpp"

namespace seesaw::sparse_prefill {
namespace {

constexpr const char* kWhere = "sparse_prefill";

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

Status complete_rows(SparsePrefillProblem* problem) {
  const CacheFormat format = problem->format();
  if (format.columns() != problem->d_qk) {
    return bad(fmt::format("d_qk = {} with kv_format = {}", problem->d_qk, format.name),
               fmt::format("{}, the format's columns", format.columns()),
               "Set d_qk, or choose another format.");
  }
  if (format.tail_bytes > 0) {
    return bad(fmt::format("kv_format = {}, whose scales lie behind a page's rows", format.name),
               "formats whose record is one row, as rows of kv lie in no pages",
               "Gather the rows as numbers first, or use sparse_decode, which takes pages.");
  }
  CacheShape shape = {
      .page_size = 1, .columns = problem->kv_columns, .page_stride = problem->kv_token_stride};
  SEESAW_RETURN_IF_ERROR(complete_cache_shape(kWhere, format, &shape));
  problem->kv_columns = shape.columns;
  problem->kv_token_stride = shape.page_stride;
  return {};
}

// [n, h_q, columns], and [n, h_q]. The cores' sequences are this operation's query tokens.
attention::Rows rows_of(const Tensor& tensor) {
  return {tensor.data, tensor.stride[0], 0, tensor.stride[1]};
}

}  // namespace

Status complete(SparsePrefillProblem* problem) {
  problem->kv_format = problem->kv_format == 0 ? problem->q_dtype : problem->kv_format;
  SEESAW_RETURN_IF_ERROR(
      attention::check_columns(kWhere, {problem->d_qk, problem->d_v, problem->d_rope}));
  return complete_rows(problem);
}

attention::Problem attention_of(const SparsePrefillProblem& problem) {
  attention::Problem attention;
  attention.items = problem.s_q;
  attention.h_q = problem.h_q;
  attention.d_qk = problem.d_qk;
  attention.d_v = problem.d_v;
  attention.d_rope = problem.d_rope;
  attention.q_type = problem.q_type();
  const int64_t row_bytes = problem.kv_token_stride * size_of(storage_of(problem.kv_format));
  attention.streams[0] = {.kind = attention::StreamKind::kIndices,
                          .format = problem.format(),
                          .page_size = 1,
                          .most_tokens = problem.topk,
                          .page_stride_bytes = row_bytes,
                          .row_stride_bytes = row_bytes};
  attention.lse_base = problem.lse_base == SEESAW_LSE_BASE2 ? LseBase::kTwo : LseBase::kNatural;
  attention.empty_lse = problem.empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY
                            ? EmptyLse::kPositiveInfinity
                            : EmptyLse::kNegativeInfinity;
  attention.sinks = true;
  attention.max_logits = true;
  return attention;
}

attention::Call call_of(const SparsePrefillProblem& problem, const Args& args, const Call& call) {
  attention::Call attention;
  attention.items = tokens_of(args);
  attention.q = rows_of(args.q);
  attention.q_rotary = rows_of(args.q_rotary);
  attention.out = rows_of(args.out);
  attention.lse = rows_of(args.lse);
  attention.max_logits = rows_of(args.max_logits);
  attention::Stream& stream = attention.streams[0];
  stream.cache = args.kv.data;
  stream.pages = args.kv.shape[0];
  stream.page_stride_bytes = problem.kv_token_stride * size_of(storage_of(problem.kv_format));
  stream.row_stride_bytes = stream.page_stride_bytes;
  stream.ids = static_cast<const int32_t*>(args.indices.data);
  stream.ids_stride_sequence = args.indices.stride[0];
  stream.lengths = static_cast<const int32_t*>(args.topk_length.data);
  stream.lengths_stride = args.topk_length.stride[0];
  stream.scale = static_cast<const float*>(args.kv_scale.data);
  attention.sinks = static_cast<const float*>(args.sinks.data);
  attention.scale = args.scale;
  attention.workspace = call.workspace;
  attention.schedule = call.schedule;
  return attention;
}

Status check_call(const SparsePrefillProblem& /*problem*/, const Args& args) {
  return args.kv_scale.data == nullptr || args.kv_scale.shape[0] == 1
             ? Status()
             : bad(fmt::format("kv_scale has shape [{}]", args.kv_scale.shape[0]), "[1]",
                   "Pass the one scale of kv.");
}

Status check_lists(const SparsePrefillProblem& problem, const attention::Call& call,
                   const attention::FindDoubtful& find) {
  std::optional<attention::Doubtful> found;
  SEESAW_RETURN_IF_ERROR(find(call, 0, &found));
  if (!found.has_value()) {
    return {};
  }
  if (found->entry == attention::Doubtful::kLength) {
    return bad(fmt::format("topk_length[{}] = {}", found->item, found->value),
               fmt::format("0 to {}, the columns of indices", problem.topk), "Correct the length.");
  }
  return bad(fmt::format("indices[{}, 0, {}] = {}", found->item, found->entry, found->value),
             fmt::format("-1, or a row of the {} of kv", call.streams[0].pages),
             "Correct the number, or run without check_data: then it is passed over.");
}

Work work_of(const SparsePrefillProblem& problem, const Options& options, const Args& args) {
  // Unsigned, so that a product beyond 2^64 wraps; no memory holds that many bytes.
  const auto number = [](int64_t size) { return static_cast<uint64_t>(size); };
  const attention::Problem attention = attention_of(problem);
  const attention::Call call = call_of(problem, args, {});
  const uint64_t tokens = number(call.items);
  const uint64_t row_bytes =
      number(problem.d_qk + problem.d_v) * number(size_of(problem.q_type())) +
      (args.lse.data == nullptr ? 0 : sizeof(float)) +
      (args.max_logits.data == nullptr ? 0 : sizeof(float));
  Work work;
  work.sequences = tokens;
  work.tensor_bytes =
      tokens * (number(problem.h_q) * row_bytes + number(problem.topk) * sizeof(int32_t));
  const uint64_t token_bytes = number(problem.format().row_bytes);
  work.kv_bytes_planned = tokens * number(problem.topk) * token_bytes;
  if (on_cpu(options.device)) {
    work.kv_tokens =
        number(attention::tokens_selected(attention::Selection(attention, call, 0), call.items));
    work.kv_bytes = work.kv_tokens * token_bytes;
  }
  return work;
}

}  // namespace seesaw::sparse_prefill
