// The C ABI of the baselines: validate, select, plan, run.
#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "base/message.hpp"
#include "baselines/arguments.hpp"
#include "baselines/backend.hpp"
#include "baselines/cost_ops.hpp"
#include "baselines/models.hpp"
#include "baselines/refusal.hpp"
#include "boundary/error.hpp"

struct seesaw_baselines_plan {
  seesaw::baselines::Problem problem;
  const seesaw::baselines::Backend* backend = nullptr;
  std::unique_ptr<seesaw::baselines::Prepared> prepared;
  std::vector<seesaw_baseline_parameter> parameters;
};

namespace seesaw::baselines {
namespace {

// The most parameters that a model has: traditional MLA with biases.
constexpr size_t kMostParameters = 16;

// Writes min(capacity, *count) of `rows`, and the count.
template <typename Row>
Status write_rows(std::span<const Row> rows, Row* to, uint64_t capacity, uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require(count, "count"));
  if (capacity > 0) {
    SEESAW_RETURN_IF_ERROR(require(to, "rows"));
  }
  std::copy_n(rows.begin(), std::min<uint64_t>(capacity, rows.size()), to);
  *count = rows.size();
  return {};
}

Status list_parameters(const seesaw_baseline_problem* problem, seesaw_baseline_parameter* rows,
                       uint64_t capacity, uint64_t* count) {
  Problem asked;
  SEESAW_RETURN_IF_ERROR(read_problem(problem, &asked));
  const std::vector<seesaw_baseline_parameter> all = parameters(asked);
  return write_rows<seesaw_baseline_parameter>(all, rows, capacity, count);
}

Status supports(const seesaw_baseline_problem* problem, seesaw_kernel_support* rows,
                uint64_t capacity, uint64_t* count) {
  Problem asked;
  SEESAW_RETURN_IF_ERROR(read_problem(problem, &asked));
  thread_local std::vector<std::string> reasons;  // until this thread's next call, as promised
  reasons.clear();
  for (const Backend* backend : backends()) {
    const Support support = backend->supports(asked);
    reasons.push_back(support.supported ? "" : support.reason);
  }
  std::vector<seesaw_kernel_support> answers;
  for (size_t i = 0; i < reasons.size(); ++i) {
    answers.push_back({backends()[i]->name(), reasons[i].c_str(), reasons[i].empty() ? 1 : 0, 0});
  }
  return write_rows<seesaw_kernel_support>(answers, rows, capacity, count);
}

Status predict(const seesaw_baseline_problem* problem, int64_t past_tokens,
               seesaw_baseline_cost* cost) {
  Problem asked;
  SEESAW_RETURN_IF_ERROR(read_problem(problem, &asked));
  if (past_tokens < 0 || past_tokens > asked.max_past()) {
    return bad(
        fmt::format("past_tokens = {}", past_tokens),
        fmt::format("0 to {} (cache_capacity - tokens, or 0 without a cache)", asked.max_past()),
        "Set cache_capacity of the problem to the longest context.");
  }
  Arena arena;
  CostOps ops(arena);
  SEESAW_RETURN_IF_ERROR(rehearse(ops, asked, past_tokens));
  seesaw_baseline_cost total = ops.cost();
  for (const seesaw_baseline_parameter& parameter : parameters(asked)) {
    total.parameter_count += static_cast<uint64_t>(parameter.shape[0] * parameter.shape[1]);
  }
  const auto element = static_cast<uint64_t>(size_of(asked.dtype));
  total.weight_bytes = total.parameter_count * element;
  total.cache_bytes_per_token = static_cast<uint64_t>(asked.cache_width()) * element;
  total.intermediate_bytes = arena.peak_bytes();
  return write_sized(kWhere, "seesaw_baseline_cost", total, cost);
}

Status select(const Problem& problem, const Backend** selected) {
  std::string reasons;
  for (const Backend* backend : backends()) {
    const Support support = backend->supports(problem);
    if (support.supported) {
      *selected = backend;
      return {};
    }
    reasons +=
        fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", backend->name(), support.reason);
  }
  return not_supported(
      four_part_message(kWhere, "a problem that no backend of this build runs here",
                        fmt::format("what the backends support ({})", reasons),
                        "Change the problem accordingly, or choose another device."));
}

Status plan_create(const seesaw_baseline_problem* problem, seesaw_baselines_plan** plan) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  *plan = nullptr;
  auto made = std::make_unique<seesaw_baselines_plan>();
  SEESAW_RETURN_IF_ERROR(read_problem(problem, &made->problem));
  SEESAW_RETURN_IF_ERROR(select(made->problem, &made->backend));
  made->parameters = parameters(made->problem);
  SEESAW_RETURN_IF_ERROR(made->backend->prepare(made->problem, &made->prepared));
  *plan = made.release();
  return {};
}

Status plan_get_info(const seesaw_baselines_plan* plan, seesaw_baselines_plan_info* info) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  seesaw_baselines_plan_info filled = {};
  filled.backend = plan->backend->name();
  filled.workspace_bytes = plan->prepared->workspace_bytes();
  filled.num_parameters = plan->parameters.size();
  filled.cache_width = plan->problem.cache_width();
  filled.max_past_tokens = plan->problem.max_past();
  filled.num_products = plan->prepared->num_products();
  filled.converted_products = plan->prepared->converted_products();
  return write_sized(kWhere, "seesaw_baselines_plan_info", filled, info);
}

Status check_workspace(const seesaw_baselines_args& args, uint64_t needed_bytes) {
  if (needed_bytes == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(require(args.workspace, "workspace"));
  if (args.workspace_bytes < needed_bytes) {
    return bad(fmt::format("workspace_bytes = {}", args.workspace_bytes),
               fmt::format("at least {}", needed_bytes),
               "Ask seesaw_baselines_plan_get_info for the size.");
  }
  if (reinterpret_cast<uintptr_t>(args.workspace) % Arena::kAlignment != 0) {
    return bad(fmt::format("workspace at address {}", args.workspace),
               fmt::format("multiples of {} bytes", Arena::kAlignment), "Allocate it aligned.");
  }
  return {};
}

Status run(const seesaw_baselines_plan* plan, const seesaw_baselines_args* args) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  seesaw_baselines_args given;
  SEESAW_RETURN_IF_ERROR(read_sized(kWhere, "seesaw_baselines_args", args, &given));
  std::array<View, kMostParameters> weights;
  Call call{.problem = plan->problem};
  SEESAW_RETURN_IF_ERROR(read_arguments(given, plan->parameters,
                                        std::span(weights).first(plan->parameters.size()), &call));
  SEESAW_RETURN_IF_ERROR(check_workspace(given, plan->prepared->workspace_bytes()));
  return plan->prepared->run(call, given.workspace, given.stream);
}

}  // namespace
}  // namespace seesaw::baselines

using seesaw::at_boundary;

extern "C" {

const char* seesaw_baselines_last_error(void) { return seesaw::last_error_message(); }

const char* seesaw_baselines_model_name(int32_t model) {
  switch (model) {
    case SEESAW_BASELINE_MHA:
      return "mha";
    case SEESAW_BASELINE_TRADITIONAL_MLA:
      return "traditional_mla";
    case SEESAW_BASELINE_CHUNKED_MLA:
      return "chunked_mla";
    case SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED:
      return "deepseek_mla_expanded";
    case SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED:
      return "deepseek_mla_absorbed";
    default:
      return nullptr;
  }
}

seesaw_status seesaw_baselines_parameters(const seesaw_baseline_problem* problem,
                                          seesaw_baseline_parameter* rows, uint64_t capacity,
                                          uint64_t* count) {
  return at_boundary("baselines_parameters", [&] {
    return seesaw::baselines::list_parameters(problem, rows, capacity, count);
  });
}

seesaw_status seesaw_baselines_supports(const seesaw_baseline_problem* problem,
                                        seesaw_kernel_support* rows, uint64_t capacity,
                                        uint64_t* count) {
  return at_boundary("baselines_supports",
                     [&] { return seesaw::baselines::supports(problem, rows, capacity, count); });
}

seesaw_status seesaw_baselines_cost(const seesaw_baseline_problem* problem, int64_t past_tokens,
                                    seesaw_baseline_cost* cost) {
  return at_boundary("baselines_cost",
                     [&] { return seesaw::baselines::predict(problem, past_tokens, cost); });
}

seesaw_status seesaw_baselines_plan_create(const seesaw_baseline_problem* problem,
                                           seesaw_baselines_plan** plan) {
  return at_boundary("baselines_plan_create",
                     [&] { return seesaw::baselines::plan_create(problem, plan); });
}

void seesaw_baselines_plan_destroy(seesaw_baselines_plan* plan) { delete plan; }

seesaw_status seesaw_baselines_plan_get_info(const seesaw_baselines_plan* plan,
                                             seesaw_baselines_plan_info* info) {
  return at_boundary("baselines_plan_get_info",
                     [&] { return seesaw::baselines::plan_get_info(plan, info); });
}

seesaw_status seesaw_baselines_run(const seesaw_baselines_plan* plan,
                                   const seesaw_baselines_args* args) {
  return at_boundary("baselines_run", [&] { return seesaw::baselines::run(plan, args); });
}

}  // extern "C"
