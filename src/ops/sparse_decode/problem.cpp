// What the tables cannot say: fields of the problem against each other, tensors against each other,
// and data in host memory.
#include "ops/sparse_decode/problem.hpp"

#include <string_view>

#include "attention/columns.hpp"
#include "attention/selection.hpp"
#include "base/message.hpp"
#include "core/cache_shape.hpp"

namespace seesaw::sparse_decode {
namespace {

constexpr const char* kWhere = "sparse_decode";
constexpr int64_t kDefaultPageSize = 64;

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

Status check_columns(const SparseDecodeProblem& problem, const char* field,
                     const CacheFormat& format) {
  return format.columns() == problem.d_qk
             ? Status()
             : bad(fmt::format("d_qk = {} with {} = {}", problem.d_qk, field, format.name),
                   fmt::format("{}, the format's columns", format.columns()),
                   "Set d_qk, or choose another format.");
}

Status complete_cache(SparseDecodeProblem* problem) {
  SEESAW_RETURN_IF_ERROR(check_columns(*problem, "kv_format", problem->format()));
  CacheShape shape = {.page_size = problem->page_size,
                      .columns = problem->kv_columns,
                      .page_stride = problem->kv_page_stride,
                      .token_stride = problem->kv_token_stride};
  SEESAW_RETURN_IF_ERROR(complete_cache_shape(kWhere, problem->format(), &shape));
  problem->kv_columns = shape.columns;
  problem->kv_page_stride = shape.page_stride;
  problem->kv_token_stride = shape.token_stride;
  return {};
}

// Without an extra cache nothing may be said of it.
Status refuse_extra(const SparseDecodeProblem& problem) {
  const struct {
    const char* name;
    int64_t value;
  } fields[] = {{"extra_page_size", problem.extra_page_size},
                {"extra_kv_page_stride", problem.extra_kv_page_stride},
                {"extra_kv_token_stride", problem.extra_kv_token_stride},
                {"extra_kv_columns", problem.extra_kv_columns},
                {"extra_kv_format", problem.extra_kv_format}};
  for (const auto& field : fields) {
    if (field.value != 0) {
      return bad(fmt::format("{} = {} without extra_topk", field.name, field.value),
                 "an extra cache with extra_indices, or neither",
                 "Pass both, or leave out what tells of an extra cache.");
    }
  }
  return {};
}

Status complete_extra_cache(SparseDecodeProblem* problem) {
  if (!problem->has_extra()) {
    return refuse_extra(*problem);
  }
  if (problem->extra_page_size == 0) {
    problem->extra_page_size = kDefaultPageSize;
  }
  if (problem->extra_kv_format == 0) {
    problem->extra_kv_format = problem->kv_format;
  }
  SEESAW_RETURN_IF_ERROR(check_columns(*problem, "extra_kv_format", problem->extra_format()));
  CacheShape shape = {.page_size = problem->extra_page_size,
                      .columns = problem->extra_kv_columns,
                      .page_stride = problem->extra_kv_page_stride,
                      .token_stride = problem->extra_kv_token_stride};
  SEESAW_RETURN_IF_ERROR(complete_cache_shape(kWhere, problem->extra_format(), &shape));
  problem->extra_kv_columns = shape.columns;
  problem->extra_kv_page_stride = shape.page_stride;
  problem->extra_kv_token_stride = shape.token_stride;
  return {};
}

Status check_one_scale(const char* name, const Tensor& scale) {
  return scale.data == nullptr || scale.shape[0] == 1
             ? Status()
             : bad(fmt::format("{} has shape [{}]", name, scale.shape[0]), "[1]",
                   "Pass the one scale of the cache.");
}

// A cache and the lists of its slots.
struct Lists {
  const char* indices_name;
  const char* length_name;
  size_t stream;
};

Status check_one_list(const Lists& lists, const attention::Problem& problem,
                      const attention::Call& call, const attention::FindDoubtful& find) {
  const attention::StreamShape& shape = problem.streams[lists.stream];
  std::optional<attention::Doubtful> found;
  SEESAW_RETURN_IF_ERROR(find(call, lists.stream, &found));
  if (!found.has_value()) {
    return {};
  }
  const int64_t sequence = found->item / problem.items_per_sequence;
  if (found->entry == attention::Doubtful::kLength) {
    return bad(fmt::format("{}[{}] = {}", lists.length_name, sequence, found->value),
               fmt::format("0 to {}, the columns of {}", shape.most_tokens, lists.indices_name),
               "Correct the length.");
  }
  return bad(fmt::format("{}[{}, {}, {}] = {}", lists.indices_name, sequence,
                         found->item % problem.items_per_sequence, found->entry, found->value),
             fmt::format("-1, or a slot of the {} pages of {}", call.streams[lists.stream].pages,
                         shape.page_size),
             "Correct the slot, or run without check_data: then it is passed over.");
}

// A cache, its lists and their lengths.
struct Selected {
  const CacheFormat& format;
  const Tensor& cache;
  int64_t page_stride;   // elements
  int64_t token_stride;  // elements
  const Tensor& indices;
  const Tensor& length;
  const Tensor& scale;
};

attention::Stream stream_of(const Selected& selected) {
  attention::Stream stream;
  stream.cache = selected.cache.data;
  stream.pages = selected.cache.shape[0];
  stream.page_stride_bytes = selected.page_stride * size_of(storage_of(selected.format.id));
  stream.row_stride_bytes = row_stride_bytes(selected.format, selected.token_stride);
  stream.ids = static_cast<const int32_t*>(selected.indices.data);
  stream.ids_stride_sequence = selected.indices.stride[0];
  stream.ids_stride_token = selected.indices.stride[1];
  stream.lengths = static_cast<const int32_t*>(selected.length.data);
  stream.lengths_stride = selected.length.stride[0];
  stream.scale = static_cast<const float*>(selected.scale.data);
  return stream;
}

// A list of slots of a cache; strides are elements.
attention::StreamShape shape_of(const CacheFormat& format, int64_t page_size, int64_t topk,
                                int64_t page_stride, int64_t token_stride) {
  return {.kind = attention::StreamKind::kIndices,
          .format = format,
          .page_size = page_size,
          .most_tokens = topk,
          .page_stride_bytes = page_stride * size_of(storage_of(format.id)),
          .row_stride_bytes = row_stride_bytes(format, token_stride)};
}

// [b, s_q, h_q, columns], and [b, h_q, s_q].
attention::Rows rows_of(const Tensor& tensor) {
  return {tensor.data, tensor.stride[0], tensor.stride[1], tensor.stride[2]};
}
attention::Rows numbers_of(const Tensor& tensor) {
  return {tensor.data, tensor.stride[0], tensor.stride[2], tensor.stride[1]};
}

}  // namespace

Status complete(SparseDecodeProblem* problem) {
  problem->kv_format = problem->kv_format == 0 ? problem->q_dtype : problem->kv_format;
  const int64_t most = int64_t{1} << 30;
  if (problem->batch * problem->s_q > most || problem->s_q * problem->h_q > most) {
    return bad(
        fmt::format("batch = {}, s_q = {}, h_q = {}", problem->batch, problem->s_q, problem->h_q),
        fmt::format("batch * s_q and s_q * h_q up to {}", most),
        "Check the shape that they come from.");
  }
  if (problem->topk + problem->extra_topk > INT32_MAX) {
    return bad(fmt::format("topk = {} with extra_topk = {}", problem->topk, problem->extra_topk),
               fmt::format("a sum up to {}", INT32_MAX), "Check the shape of the lists.");
  }
  SEESAW_RETURN_IF_ERROR(
      attention::check_columns(kWhere, {problem->d_qk, problem->d_v, problem->d_rope}));
  SEESAW_RETURN_IF_ERROR(complete_cache(problem));
  return complete_extra_cache(problem);
}

attention::Problem attention_of(const SparseDecodeProblem& problem) {
  attention::Problem attention;
  attention.items = problem.batch * problem.s_q;
  attention.items_per_sequence = problem.s_q;
  attention.h_q = problem.h_q;
  attention.d_qk = problem.d_qk;
  attention.d_v = problem.d_v;
  attention.d_rope = problem.d_rope;
  attention.q_type = problem.q_type();
  attention.streams[0] = shape_of(problem.format(), problem.page_size, problem.topk,
                                  problem.kv_page_stride, problem.kv_token_stride);
  if (problem.has_extra()) {
    attention.num_streams = 2;
    attention.streams[1] =
        shape_of(problem.extra_format(), problem.extra_page_size, problem.extra_topk,
                 problem.extra_kv_page_stride, problem.extra_kv_token_stride);
  }
  attention.lse_base = problem.lse_base == SEESAW_LSE_BASE2 ? LseBase::kTwo : LseBase::kNatural;
  attention.empty_lse = problem.empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY
                            ? EmptyLse::kPositiveInfinity
                            : EmptyLse::kNegativeInfinity;
  attention.sinks = true;
  attention.max_logits = true;
  return attention;
}

attention::Call call_of(const SparseDecodeProblem& problem, const Args& args, const Call& call) {
  attention::Call attention;
  attention.items = batch_of(args) * problem.s_q;
  attention.q = rows_of(args.q);
  attention.q_rotary = rows_of(args.q_rotary);
  attention.out = rows_of(args.out);
  attention.lse = numbers_of(args.lse);
  attention.max_logits = numbers_of(args.max_logits);
  attention.streams[0] =
      stream_of({problem.format(), args.kv_cache, problem.kv_page_stride, problem.kv_token_stride,
                 args.indices, args.topk_length, args.kv_scale});
  if (problem.has_extra()) {
    attention.streams[1] =
        stream_of({problem.extra_format(), args.extra_kv_cache, problem.extra_kv_page_stride,
                   problem.extra_kv_token_stride, args.extra_indices, args.extra_topk_length,
                   args.extra_kv_scale});
  }
  attention.sinks = static_cast<const float*>(args.sinks.data);
  attention.scale = args.scale;
  attention.workspace = call.workspace;
  attention.schedule = call.schedule;
  return attention;
}

Status check_call(const SparseDecodeProblem& problem, const Args& args) {
  SEESAW_RETURN_IF_ERROR(check_one_scale("kv_scale", args.kv_scale));
  SEESAW_RETURN_IF_ERROR(check_one_scale("extra_kv_scale", args.extra_kv_scale));
  if (problem.has_extra()) {
    return {};
  }
  const struct {
    const char* name;
    const Tensor& tensor;
  } extras[] = {{"extra_kv_cache", args.extra_kv_cache},
                {"extra_indices", args.extra_indices},
                {"extra_topk_length", args.extra_topk_length},
                {"extra_kv_scale", args.extra_kv_scale}};
  for (const auto& extra : extras) {
    if (extra.tensor.data != nullptr) {
      return bad(fmt::format("{} with extra_topk = 0", extra.name), "no extra cache, as planned",
                 "Leave it out, or plan with extra_topk.");
    }
  }
  return {};
}

Status check_lists(const SparseDecodeProblem& problem, const attention::Call& call,
                   const attention::FindDoubtful& find) {
  const attention::Problem attention = attention_of(problem);
  SEESAW_RETURN_IF_ERROR(check_one_list({"indices", "topk_length", 0}, attention, call, find));
  return problem.has_extra()
             ? check_one_list({"extra_indices", "extra_topk_length", 1}, attention, call, find)
             : Status();
}

Work work_of(const SparseDecodeProblem& problem, const Options& options, const Args& args) {
  // Unsigned, so that a product beyond 2^64 wraps; no memory holds that many bytes.
  const auto number = [](int64_t size) { return static_cast<uint64_t>(size); };
  const attention::Problem attention = attention_of(problem);
  const attention::Call call = call_of(problem, args, {});
  const uint64_t items = number(call.items);
  const uint64_t row_bytes =
      number(problem.d_qk + problem.d_v) * number(size_of(problem.q_type())) +
      (args.lse.data == nullptr ? 0 : sizeof(float)) +
      (args.max_logits.data == nullptr ? 0 : sizeof(float));
  Work work;
  work.sequences = number(batch_of(args));
  work.tensor_bytes = items * number(problem.h_q) * row_bytes +
                      items * number(problem.topk + problem.extra_topk) * sizeof(int32_t);
  for (size_t i = 0; i < attention.num_streams; ++i) {
    const CacheFormat& format = attention.streams[i].format;
    const uint64_t token_bytes = number(format.row_bytes + format.tail_bytes);
    work.kv_bytes_planned += items * number(attention.streams[i].most_tokens) * token_bytes;
    if (on_cpu(options.device)) {
      const uint64_t tokens =
          number(attention::tokens_selected(attention::Selection(attention, call, i), call.items));
      work.kv_tokens += tokens;
      work.kv_bytes += tokens * token_bytes;
    }
  }
  return work;
}

}  // namespace seesaw::sparse_decode
