// sparse_prefill as tables: the problem's fields, the arguments, the kernels in order of
// preference.
#include "ops/sparse_prefill/operation.hpp"

#include <array>

#include "attention/host_kernels.hpp"
#include "core/format_choices.hpp"
#include "ops/sparse_prefill/plan.hpp"
#ifdef SEESAW_WITH_CUDA
#include "attention/gpu_kernels.hpp"
#endif

namespace seesaw::sparse_prefill {
namespace {

constexpr int64_t kMostStride = INT64_MAX / 8;

#define AT(field) offsetof(seesaw_sparse_prefill_problem, field)
constexpr Field kProblem[] = {
    {.name = "q_dtype",
     .type = FieldType::kDType,
     .offset = AT(q_dtype),
     .fallback = SEESAW_BFLOAT16,
     .choices = kFloatTypes,
     .from = "q.dtype",
     .flag = "--dtype",
     .match = Match::kValue,
     .help = "dtype of the queries and of the output"},
    {.name = "kv_format",
     .type = FieldType::kFormat,
     .offset = AT(kv_format),
     .choices = kFormatChoices,
     .from = "kv.dtype",
     .flag = "--kv-format,--kv-dtype,--kv",
     .match = Match::kValue,
     .help = "format of the rows; default: as q_dtype"},
    {.name = "s_q",
     .type = FieldType::kInt64,
     .offset = AT(s_q),
     .least = 1,
     .most = 1 << 30,
     .from = "n",
     .flag = "--s-q",
     .match = Match::kClass,
     .help = "the most query tokens of one call; a call may bring fewer"},
    {.name = "h_q",
     .type = FieldType::kInt64,
     .offset = AT(h_q),
     .least = 1,
     .most = 1 << 20,
     .flag = "--heads",
     .match = Match::kValue,
     .help = "query heads"},
    {.name = "h_kv",
     .type = FieldType::kInt64,
     .offset = AT(h_kv),
     .least = 1,
     .most = 1,
     .fallback = 1,
     .help = "KV heads: 1"},
    {.name = "d_qk",
     .type = FieldType::kInt64,
     .offset = AT(d_qk),
     .least = 1,
     .most = 1 << 16,
     .fallback = 576,
     .flag = "--d-qk",
     .match = Match::kValue,
     .help = "columns of a query and of a row of kv"},
    {.name = "d_v",
     .type = FieldType::kInt64,
     .offset = AT(d_v),
     .least = 1,
     .most = 1 << 16,
     .fallback = 512,
     .flag = "--d-v",
     .match = Match::kValue,
     .help = "columns of a value: the first of a row of kv"},
    {.name = "topk",
     .type = FieldType::kInt64,
     .offset = AT(topk),
     .least = 1,
     .most = INT32_MAX,
     .flag = "--topk",
     .match = Match::kValue,
     .help = "rows of a query token's list"},
    {.name = "kv_token_stride",
     .type = FieldType::kInt64,
     .offset = AT(kv_token_stride),
     .least = 0,
     .most = kMostStride,
     .from = "kv.stride.0",
     .help = "elements from a row to the next; 0: packed"},
    {.name = "kv_columns",
     .type = FieldType::kInt64,
     .offset = AT(kv_columns),
     .least = 0,
     .most = 1 << 18,
     .help = "elements of a row in kv's last dimension; default: what the format needs"},
    {.name = "lse_base",
     .type = FieldType::kChoice,
     .offset = AT(lse_base),
     .choices = kLseBases,
     .from = "-",
     .flag = "--lse-base",
     .help = "base of the log-sum-exp: e or 2"},
    {.name = "empty_lse",
     .type = FieldType::kChoice,
     .offset = AT(empty_lse),
     .choices = kEmptyLse,
     .from = "-",
     .help = "log-sum-exp of a row with nothing to attend: -inf, or FlashMLA's +inf"},
    {.name = "d_rope",
     .type = FieldType::kInt64,
     .offset = AT(d_rope),
     .least = 0,
     .most = 1 << 16,
     .help = "columns of q_rotary: the last ones of a query, beside q; 0: q has all of them"},
};
#undef AT

#define AT(field) offsetof(seesaw_sparse_prefill_args, field)
constexpr Arg kArgs[] = {
    {.name = "q",
     .offset = AT(q),
     .shape = "[n, h_q, d_qk]",
     .dtype = "q_dtype",
     .lacks = "d_rope"},
    {.name = "kv", .offset = AT(kv), .shape = "[s_kv, h_kv, kv_columns]", .dtype = "kv_format"},
    {.name = "indices",
     .offset = AT(indices),
     .shape = "[n, h_kv, topk]",
     .dtype = "int32",
     .prepares = true,
     .help = "row numbers; what is none is passed over"},
    {.name = "out",
     .offset = AT(out),
     .shape = "[n, h_q, d_v]",
     .dtype = "q_dtype",
     .use = Use::kOut},
    {.name = "lse",
     .offset = AT(lse),
     .shape = "[n, h_q]",
     .dtype = "float32",
     .use = Use::kOut,
     .optional = true,
     .strided = true},
    {.name = "max_logits",
     .offset = AT(max_logits),
     .shape = "[n, h_q]",
     .dtype = "float32",
     .use = Use::kOut,
     .optional = true,
     .strided = true,
     .help = "the largest score, in natural units"},
    {.name = "topk_length",
     .offset = AT(topk_length),
     .shape = "[n]",
     .dtype = "int32",
     .optional = true,
     .prepares = true,
     .help = "how many rows of a list count; default: topk"},
    {.name = "sinks",
     .offset = AT(sinks),
     .shape = "[h_q]",
     .dtype = "float32",
     .optional = true,
     .packed = true,
     .help = "logarithm of what an attention sink adds to a head's sum"},
    {.name = "kv_scale",
     .offset = AT(kv_scale),
     .shape = "[one]",
     .dtype = "float32",
     .optional = true,
     .help = "what the numbers of kv are multiplied by, for formats of one scale"},
    {.name = "q_rotary",
     .offset = AT(q_rotary),
     .shape = "[n, h_q, d_rope]",
     .dtype = "q_dtype",
     .optional = true,
     .help = "the last columns of the queries, where q lacks them",
     .needed_by = "d_rope"},
};
constexpr Field kScalars[] = {
    {.name = "scale",
     .type = FieldType::kFloat32,
     .offset = AT(scale),
     .help = "of the scores. DeepSeek's is 1/sqrt(192), of the head before absorption"},
};
#undef AT

constexpr std::array kKernels = {
#ifdef SEESAW_WITH_CUDA
    erase<attention::Sm90SwappedKernel<SparsePrefillPlan, Args>>(
        {"sm90.sparse_prefill.swapped", SEESAW_CUDA, "Hopper GPUs", split::kSplitKnobs,
         attention::sm90::kLimits}),
    erase<attention::Sm90Kernel<SparsePrefillPlan, Args>>({"sm90.sparse_prefill", SEESAW_CUDA,
                                                           "Hopper GPUs", split::kSplitKnobs,
                                                           attention::sm90::kLimits}),
    erase<attention::Sm80Kernel<SparsePrefillPlan, Args>>(
        {"sm80.sparse_prefill", SEESAW_CUDA, "GPUs of compute capability 8.0 on",
         attention::sm80::kKnobs, attention::sm80::kLimits}),
#endif
    erase<attention::CpuKernel<SparsePrefillPlan, Args>>(
        {"cpu.sparse_prefill", SEESAW_CPU, "any CPU", attention::cpu::kKnobs}),
    erase<attention::ReferenceKernel<SparsePrefillPlan, Args>>(
        {"reference.sparse_prefill", SEESAW_CPU, "any CPU"}),
};

}  // namespace

const Operation kOperation = {
    .name = "sparse_prefill",
    .help = "attention of many query tokens over rows of a list of their own",
    .problem_bytes = sizeof(seesaw_sparse_prefill_problem),
    .args_bytes = sizeof(seesaw_sparse_prefill_args),
    .problem = kProblem,
    .args = kArgs,
    .scalars = kScalars,
    .kernels = kKernels,
    .complete = [](void* problem) { return complete(static_cast<SparsePrefillProblem*>(problem)); },
    .work =
        [](const void* problem, const Options& options, const void* args) {
          return work_of(*static_cast<const SparsePrefillProblem*>(problem), options,
                         *static_cast<const Args*>(args));
        },
};

}  // namespace seesaw::sparse_prefill
