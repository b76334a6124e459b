// What the tables cannot say: fields of the problem against each other, and data in host memory.
#include <algorithm>
#include <string_view>

#include "attention/columns.hpp"
#include "attention/host.hpp"
#include "base/math.hpp"
#include "base/message.hpp"
#include "core/cache_shape.hpp"
#include "ops/dense_decode/attention.hpp"
#include "ops/dense_decode/operation.hpp"
#include "ops/dense_decode/plan.hpp"

namespace seesaw::dense_decode {
namespace {

constexpr const char* kWhere = "dense_decode";

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

// The cache's columns and strides, by its format.
Status complete_cache(DenseDecodeProblem* problem) {
  const CacheFormat format = problem->format();
  if (format.columns() != problem->d_qk) {
    return bad(fmt::format("d_qk = {} with format {}", problem->d_qk, format.name),
               fmt::format("{}, the format's columns", format.columns()),
               "Set d_qk, or choose another format.");
  }
  CacheShape shape = {.page_size = problem->page_size,
                      .h_kv = problem->h_kv,
                      .columns = problem->kv_columns,
                      .page_stride = problem->kv_page_stride,
                      .token_stride = problem->kv_token_stride,
                      .head_stride = problem->kv_head_stride};
  SEESAW_RETURN_IF_ERROR(complete_cache_shape(kWhere, format, &shape));
  problem->kv_columns = shape.columns;
  problem->kv_page_stride = shape.page_stride;
  problem->kv_token_stride = shape.token_stride;
  problem->kv_head_stride = shape.head_stride;
  return {};
}

Status check_tree_mask(const DenseDecodeProblem& problem, const Tensor& mask) {
  if (mask.data == nullptr) {
    return {};
  }
  const int64_t bytes = mask.shape[mask.rank - 1];
  const int64_t needed = ceil_div<int64_t>(problem.s_q, 8);
  return bytes >= needed ? Status()
                         : bad(fmt::format("tree_mask has {} bytes a query token", bytes),
                               fmt::format("{} or more, a bit for each of s_q = {} tokens", needed,
                                           problem.s_q),
                               "Widen the mask's last dimension.");
}

Status check_ragged(const DenseDecodeProblem& problem, const Args& args) {
  const Tensor& begin = args.cu_seqlens_q;
  return problem.ragged == 0 || begin.shape[0] == batch_of(args) + 1
             ? Status()
             : bad(fmt::format("cu_seqlens_q has shape [{}]", begin.shape[0]),
                   fmt::format("[{}], one more than seq_lens", batch_of(args) + 1),
                   "Pass where each sequence's query tokens begin, and where the last one's end.");
}

// Query tokens of the sequences one behind the other, each with at most s_q of them.
Status check_query_begins(const DenseDecodeProblem& problem, const Args& args) {
  if (problem.ragged == 0) {
    return {};
  }
  const auto* begin = static_cast<const int32_t*>(args.cu_seqlens_q.data);
  const int64_t total = args.q.shape[0];
  for (int64_t i = 0; i <= batch_of(args); ++i) {
    const int64_t least = i == 0 ? 0 : begin[i - 1];
    const int64_t most = i == 0 ? 0 : std::min(least + problem.s_q, total);
    if (begin[i] < least || begin[i] > most) {
      return bad(fmt::format("cu_seqlens_q[{}] = {}", i, begin[i]),
                 fmt::format("{} to {} (s_q = {}, total_q = {})", least, most, problem.s_q, total),
                 "Correct it, or plan for a larger s_q.");
    }
  }
  return {};
}

// None above the block table's capacity and, if asked for, none negative.
Status check_lengths(const DenseDecodePlan& plan, const Args& args) {
  const DenseDecodeProblem& problem = plan.problem;
  const auto* lengths = static_cast<const int32_t*>(args.seq_lens.data);
  for (int64_t i = 0; i < batch_of(args); ++i) {
    const int64_t length = lengths[i * args.seq_lens.stride[0]];
    if (length > problem.max_tokens() || (length < 0 && plan.options.check_data)) {
      return bad(
          fmt::format("seq_lens[{}] = {}", i, length),
          fmt::format("0 to {} (max_pages_per_sequence = {} pages of {})", problem.max_tokens(),
                      problem.max_pages_per_sequence, problem.page_size),
          "Correct the length, or widen the block table.");
    }
  }
  return {};
}

// Entries that the lengths make live: each the id of a page.
Status check_block_table(const DenseDecodeProblem& problem, const Args& args) {
  const int64_t num_pages = args.kv_cache.shape[0];
  const auto* ids = static_cast<const int32_t*>(args.block_table.data);
  for (int64_t i = 0; i < batch_of(args); ++i) {
    const int64_t length = length_of(args, i);
    const int64_t pages = ceil_div(length, problem.page_size);
    for (int64_t p = 0; p < pages; ++p) {
      const int32_t id = ids[i * args.block_table.stride[0] + p];
      if (id < 0 || id >= num_pages) {
        return bad(fmt::format("block_table[{}, {}] = {}", i, p, id),
                   fmt::format("0 to {} (num_pages - 1), as seq_lens[{}] = {} needs {} pages",
                               num_pages - 1, i, length, pages),
                   "Correct the page id or the length.");
      }
    }
  }
  return {};
}

}  // namespace

std::string options_of(const DenseDecodeProblem& problem) {
  const struct {
    const char* name;
    bool asked;
  } options[] = {{"window", problem.window != 0},     {"tree_mask", problem.tree_mask != 0},
                 {"sinks", problem.sinks != 0},       {"max_logits", problem.max_logits != 0},
                 {"soft_cap", problem.soft_cap != 0}, {"ragged", problem.ragged != 0}};
  std::string names;
  for (const auto& option : options) {
    if (option.asked) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", option.name);
    }
  }
  return names;
}

Status check_call(const DenseDecodeProblem& problem, const Args& args) {
  if (args.soft_cap < 0) {
    return bad(fmt::format("soft_cap = {}", args.soft_cap), "0 (none) or more",
               "Set the model's, or leave it out.");
  }
  SEESAW_RETURN_IF_ERROR(check_tree_mask(problem, args.tree_mask));
  return check_ragged(problem, args);
}

Status complete(DenseDecodeProblem* problem) {
  problem->kv_format = problem->kv_format == 0 ? problem->q_dtype : problem->kv_format;
  if (problem->s_q * problem->h_q > 1 << 30) {
    return bad(fmt::format("rows = s_q * h_q = {}", problem->s_q * problem->h_q),
               fmt::format("1 to {}", 1 << 30), "Check the shape that rows comes from.");
  }
  if (problem->h_q % problem->h_kv != 0) {
    return bad(fmt::format("h_q = {} with h_kv = {}", problem->h_q, problem->h_kv),
               "h_q a multiple of h_kv", "Repeat or drop heads so that the groups are equal.");
  }
  SEESAW_RETURN_IF_ERROR(
      attention::check_columns(kWhere, {problem->d_qk, problem->d_v, problem->d_rope}));
  return complete_cache(problem);
}

split::Lengths planned_lengths(const DenseDecodeProblem& problem, const Args& args) {
  return attention::planned_lengths(attention_of(problem), call_of(problem, args, {}));
}

Status check_before_prepare(const DenseDecodePlan& plan, const Args& args) {
  return check_lengths(plan, args);
}

Status check_before_run(const DenseDecodePlan& plan, const Args& args) {
  SEESAW_RETURN_IF_ERROR(check_lengths(plan, args));
  SEESAW_RETURN_IF_ERROR(check_query_begins(plan.problem, args));
  return check_block_table(plan.problem, args);
}

Work work_of(const DenseDecodeProblem& problem, const Options& options, const Args& args) {
  // Unsigned, so that a product beyond 2^64 wraps; no memory holds that many bytes.
  const auto number = [](int64_t size) { return static_cast<uint64_t>(size); };
  const uint64_t batch = number(batch_of(args));
  const uint64_t query_tokens =
      problem.ragged != 0 ? number(args.q.shape[0]) : batch * number(problem.s_q);
  const uint64_t query_rows = query_tokens * number(problem.h_q);
  const uint64_t row_bytes =
      number(problem.d_qk + problem.d_v) * number(size_of(problem.q_type())) +
      (args.lse.data == nullptr ? 0 : sizeof(float)) +
      (args.max_logits.data == nullptr ? 0 : sizeof(float));
  const CacheFormat format = problem.format();
  const uint64_t token_bytes = number(problem.h_kv) * number(format.row_bytes + format.tail_bytes);
  Work work;
  work.sequences = batch;
  work.tensor_bytes = query_rows * row_bytes;
  const attention::Problem attention = attention_of(problem);
  work.kv_bytes_planned = batch * number(attention::planned_tokens(attention, 0)) * token_bytes;
  if (on_cpu(options.device)) {
    for (int64_t i = 0; i < batch_of(args); ++i) {
      const int64_t length = length_of(args, i);
      work.kv_tokens += number(length - attention::origin_of(attention, length));
    }
    work.kv_bytes = work.kv_tokens * token_bytes;
  }
  return work;
}

}  // namespace seesaw::dense_decode
