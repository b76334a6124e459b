#include "sparse_request.hpp"

#include <string_view>

namespace seesaw::tools {
namespace {

// What the two problems share.
template <typename Problem>
SparseSpec common(const Problem& problem, int64_t page_size, int64_t pool_tokens, uint64_t seed) {
  SparseSpec spec{.h_q = problem.h_q,
                  .d_qk = problem.d_qk,
                  .d_v = problem.d_v,
                  .q_dtype = problem.q_dtype,
                  .strangers = Strangers::kNone,
                  .duplicate_share = 0,
                  .lse_base = problem.lse_base,
                  .empty_lse = problem.empty_lse,
                  .seed = seed};
  spec.cache = {.format = problem.kv_format,
                .topk = problem.topk,
                .page_size = page_size,
                .pages = std::max(pool_tokens, problem.topk) / page_size + 1};
  return spec;
}

}  // namespace

std::string operation_typed(int argc, char** argv) {
  constexpr std::string_view kFlag = "--op";
  std::string name = dense_decode().name;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == kFlag && i + 1 < argc) {
      name = argv[i + 1];
    } else if (word.starts_with("--op=")) {
      name = word.substr(kFlag.size() + 1);
    }
  }
  require_attention(name);
  return name;
}

SparseSpec spec_of(const seesaw_sparse_decode_problem& problem, int64_t pool_tokens,
                   uint64_t seed) {
  SparseSpec spec = common(problem, problem.page_size, pool_tokens, seed);
  spec.batch = problem.batch;
  spec.s_q = problem.s_q;
  if (problem.extra_topk > 0) {
    const int64_t page_size = problem.extra_page_size > 0 ? problem.extra_page_size : 64;
    spec.extra = {
        .format = problem.extra_kv_format != 0 ? problem.extra_kv_format : problem.kv_format,
        .topk = problem.extra_topk,
        .page_size = page_size,
        .pages = std::max(pool_tokens, problem.extra_topk) / page_size + 1};
  }
  return spec;
}

SparseSpec spec_of(const seesaw_sparse_prefill_problem& problem, int64_t pool_tokens,
                   uint64_t seed) {
  SparseSpec spec = common(problem, 1, pool_tokens, seed);
  spec.batch = problem.s_q;
  return spec;
}

}  // namespace seesaw::tools
