// The problem's fields against each other, and what a call moves.
#include "ops/append/problem.hpp"

#include <string_view>

#include "base/message.hpp"
#include "core/cache_shape.hpp"

namespace seesaw::append {
namespace {

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

// Columns that are not given: those of the format; of a plain one, what the cache has room for.
void complete_columns(Problem* problem) {
  constexpr int64_t kLatent = 512;
  constexpr int64_t kRope = 64;
  const bool plain = is_plain(problem->kv_format);
  const CacheFormat format = cache_format(problem->kv_format, kLatent);
  problem->d_latent = problem->d_latent == 0 ? format.latent.count : problem->d_latent;
  if (problem->d_rope == 0) {
    const bool told = problem->kv_columns >= problem->d_latent;
    problem->d_rope = !plain ? format.rotary.count
                      : told ? problem->kv_columns - problem->d_latent
                             : kRope;
  }
  problem->d_rope = problem->d_rope < 0 ? 0 : problem->d_rope;
}

Status check_columns(const Problem& problem, const CacheFormat& format) {
  if (problem.d_latent == format.latent.count && problem.d_rope == format.rotary.count) {
    return {};
  }
  return bad(fmt::format("d_latent = {}, d_rope = {} with format {}", problem.d_latent,
                         problem.d_rope, format.name),
             fmt::format("{} and {}", format.latent.count, format.rotary.count),
             "Leave both 0, or choose another format.");
}

Status check_rotary(const Problem& problem) {
  if (!problem.rotates() || (problem.d_rope > 0 && problem.d_rope % 2 == 0)) {
    return {};
  }
  return bad(fmt::format("d_rope = {} with rotary embedding", problem.d_rope),
             "an even number of columns, 2 or more", "Set d_rope, or rotary to none.");
}

Status check_sizes(const Problem& problem) {
  constexpr int64_t kMost = 1 << 30;
  if (problem.h_q * problem.d_rope > kMost) {
    return bad(fmt::format("h_q * d_rope = {}", problem.h_q * problem.d_rope),
               fmt::format("0 to {}", kMost), "Check the shape of q_rope.");
  }
  return {};
}

Status check_rule(const Problem& problem, const CacheFormat& format) {
  if (problem.scale_rule() != ScaleRule::kGiven || format.scales.count > 0) {
    return {};
  }
  return bad(fmt::format("scales = given with format {}", format.name),
             "formats whose tokens have scales", "Leave scales 0, or choose another format.");
}

}  // namespace

Status complete(Problem* problem) {
  problem->kv_format = problem->kv_format == 0 ? problem->dtype : problem->kv_format;
  complete_columns(problem);
  const CacheFormat format = problem->format();
  SEESAW_RETURN_IF_ERROR(check_columns(*problem, format));
  SEESAW_RETURN_IF_ERROR(check_rotary(*problem));
  SEESAW_RETURN_IF_ERROR(check_sizes(*problem));
  SEESAW_RETURN_IF_ERROR(check_rule(*problem, format));
  CacheShape shape = {.page_size = problem->page_size,
                      .columns = problem->kv_columns,
                      .page_stride = problem->kv_page_stride,
                      .token_stride = problem->kv_token_stride};
  SEESAW_RETURN_IF_ERROR(complete_cache_shape(kWhere, format, &shape));
  problem->kv_columns = shape.columns;
  problem->kv_page_stride = shape.page_stride;
  problem->kv_token_stride = shape.token_stride;
  return {};
}

Work work_of(const Problem& problem, const Options& options, const Args& args) {
  const auto number = [](int64_t size) { return static_cast<uint64_t>(size); };
  const CacheFormat format = problem.format();
  const uint64_t tokens = number(tokens_of(args));
  const uint64_t record_bytes = number(format.row_bytes + format.tail_bytes);
  const uint64_t element_bytes = number(size_of(problem.type()));
  uint64_t token_bytes =
      number(problem.d_latent + problem.d_rope) * element_bytes + sizeof(int64_t);
  if (problem.rotates()) {
    const uint64_t angles =
        number(problem.d_rope * size_of(static_cast<DType>(problem.cos_sin_dtype)));
    token_bytes += angles + sizeof(int64_t);
  }
  if (args.q_rope.data != nullptr) {  // read and written
    token_bytes += 2 * number(problem.h_q * problem.d_rope) * element_bytes;
  }
  if (args.scales.data != nullptr) {
    token_bytes += number(format.scales.count) * sizeof(float);
  }
  Work work = {.sequences = tokens,
               .tensor_bytes = tokens * token_bytes,
               .kv_bytes_planned = tokens * record_bytes};
  if (on_cpu(options.device)) {
    const auto* slots = static_cast<const int64_t*>(args.slot_mapping.data);
    for (int64_t t = 0; t < tokens_of(args); ++t) {
      work.kv_tokens += slots[t * args.slot_mapping.stride[0]] >= 0 ? 1 : 0;
    }
    work.kv_bytes = work.kv_tokens * record_bytes;
  }
  return work;
}

Status plan(const Problem& problem, const Options& options, KnobValues, AppendPlan* plan) {
  plan->problem = problem;
  plan->options = options;
  return {};
}

Support supports_cpu(const Problem&, const Options&) { return Support::yes(); }

}  // namespace seesaw::append
