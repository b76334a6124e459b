// merge_states as tables: the problem's fields, the arguments, the kernels in order of preference.
#include "ops/merge_states/operation.hpp"

#include <array>

#include "ops/merge_states/problem.hpp"
#ifdef SEESAW_WITH_CUDA
#include "ops/merge_states/gpu/merge.hpp"
#endif

namespace seesaw::merge_states {
namespace {

#define AT(field) offsetof(seesaw_merge_states_problem, field)
constexpr Field kProblem[] = {
    {.name = "dtype",
     .type = FieldType::kDType,
     .offset = AT(dtype),
     .fallback = SEESAW_BFLOAT16,
     .choices = kFloatTypes,
     .from = "out.dtype",
     .flag = "--dtype",
     .match = Match::kValue,
     .help = "dtype of the partial results and of the merged one"},
    {.name = "num_parts",
     .type = FieldType::kInt64,
     .offset = AT(num_parts),
     .least = 2,
     .most = SEESAW_MERGE_STATES_MOST_PARTS,
     .from = "-",
     .flag = "--parts",
     .match = Match::kValue,
     .help = "partial results to merge"},
    {.name = "batch",
     .type = FieldType::kInt64,
     .offset = AT(batch),
     .least = 1,
     .most = 1 << 30,
     .from = "b",
     .flag = "--batch",
     .match = Match::kClass,
     .help = "the most sequences, or tokens, of one call; a call may bring fewer"},
    {.name = "s",
     .type = FieldType::kInt64,
     .offset = AT(s),
     .least = 1,
     .most = 1 << 20,
     .fallback = 1,
     .flag = "--s-q",
     .match = Match::kValue,
     .help = "tokens of each sequence"},
    {.name = "h",
     .type = FieldType::kInt64,
     .offset = AT(h),
     .least = 1,
     .most = 1 << 20,
     .flag = "--heads",
     .match = Match::kValue,
     .help = "heads"},
    {.name = "d_v",
     .type = FieldType::kInt64,
     .offset = AT(d_v),
     .least = 1,
     .most = 1 << 16,
     .fallback = 512,
     .flag = "--d-v",
     .match = Match::kValue,
     .help = "columns of a row"},
    {.name = "lse_base",
     .type = FieldType::kChoice,
     .offset = AT(lse_base),
     .choices = kLseBases,
     .from = "-",
     .flag = "--lse-base",
     .help = "base of every log-sum-exp: e or 2"},
    {.name = "empty_lse",
     .type = FieldType::kChoice,
     .offset = AT(empty_lse),
     .choices = kEmptyLse,
     .from = "-",
     .help = "log-sum-exp of a row that no part attended: -inf, or +inf"},
};
#undef AT

#define AT(field) offsetof(seesaw_merge_states_args, field)
constexpr Arg kArgs[] = {
    {.name = "outs",
     .offset = AT(outs),
     .shape = "[b, s, h, d_v]",
     .dtype = "dtype",
     .list = "num_parts"},
    {.name = "lses",
     .offset = AT(lses),
     .shape = "[b, s, h]",
     .dtype = "float32",
     .strided = true,
     .list = "num_parts"},
    {.name = "out",
     .offset = AT(out),
     .shape = "[b, s, h, d_v]",
     .dtype = "dtype",
     .use = Use::kOut},
    {.name = "lse",
     .offset = AT(lse),
     .shape = "[b, s, h]",
     .dtype = "float32",
     .use = Use::kOut,
     .optional = true,
     .strided = true},
};
#undef AT

struct CpuKernel {
  static constexpr Functions kFunctions = {.supports = supports_cpu, .plan = plan, .run = run_cpu};
};
struct ReferenceKernel {
  static constexpr Functions kFunctions = {
      .supports = supports_cpu, .plan = plan, .run = run_reference};
};

constexpr std::array kKernels = {
#ifdef SEESAW_WITH_CUDA
    erase<gpu::Kernel>({"gpu.merge_states", SEESAW_CUDA, "any GPU from sm_75"}),
#endif
    erase<CpuKernel>({"cpu.merge_states", SEESAW_CPU, "any CPU"}),
    erase<ReferenceKernel>({"reference.merge_states", SEESAW_CPU, "any CPU"}),
};

Work work_of(const Problem& problem, const Args& args) {
  const auto number = [](int64_t size) { return static_cast<uint64_t>(size); };
  const uint64_t rows = number(batch_of(args) * problem.s * problem.h);
  const uint64_t row_bytes = number(problem.d_v * size_of(problem.type())) + sizeof(float);
  const uint64_t lse_bytes = args.lse.data == nullptr ? rows * sizeof(float) : 0;
  return {.sequences = number(batch_of(args)),
          .tensor_bytes = number(problem.num_parts + 1) * rows * row_bytes - lse_bytes};
}

}  // namespace

Status plan(const Problem& problem, const Options& options, KnobValues, MergePlan* plan) {
  plan->problem = problem;
  plan->options = options;
  return {};
}

const Operation kOperation = {
    .name = "merge_states",
    .help = "partial results of attention over disjoint keys, merged by their log-sum-exps",
    .problem_bytes = sizeof(seesaw_merge_states_problem),
    .args_bytes = sizeof(seesaw_merge_states_args),
    .problem = kProblem,
    .args = kArgs,
    .scalars = {},
    .kernels = kKernels,
    .complete = [](void*) { return Status(); },
    .work =
        [](const void* problem, const Options&, const void* args) {
          return work_of(*static_cast<const Problem*>(problem), *static_cast<const Args*>(args));
        },
};

}  // namespace seesaw::merge_states
