// dense_decode as tables: the problem's fields, the arguments, the kernels in order of preference.
#include "ops/dense_decode/operation.hpp"

#include <array>

#include "attention/cpu/attention.hpp"
#include "core/format_choices.hpp"
#include "ops/dense_decode/cpu/dense_decode.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/reference/dense_decode.hpp"
#ifdef SEESAW_WITH_CUDA
#include "attention/sm80/attention.hpp"
#include "ops/dense_decode/sm80/dense_decode.hpp"
#include "ops/dense_decode/sm90/dense_decode.hpp"
#endif

namespace seesaw::dense_decode {
namespace {

constexpr int64_t kMostStride = INT64_MAX / 8;

#define AT(field) offsetof(seesaw_dense_decode_problem, field)
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
     .from = "kv_cache.dtype",
     .flag = "--kv-format,--kv-dtype,--kv",
     .match = Match::kValue,
     .help = "format of the cache; default: as q_dtype"},
    {.name = "batch",
     .type = FieldType::kInt64,
     .offset = AT(batch),
     .least = 1,
     .most = 1 << 30,
     .from = "b",
     .flag = "--batch",
     .match = Match::kClass,
     .help = "the most sequences of one call; a call may bring fewer"},
    {.name = "s_q",
     .type = FieldType::kInt64,
     .offset = AT(s_q),
     .least = 1,
     .most = 1 << 20,
     .fallback = 1,
     .flag = "--s-q",
     .match = Match::kValue,
     .help = "query tokens of each sequence"},
    {.name = "h_q",
     .type = FieldType::kInt64,
     .offset = AT(h_q),
     .least = 1,
     .most = 1 << 20,
     .flag = "--heads",
     .match = Match::kValue,
     .help = "query heads, a multiple of h_kv"},
    {.name = "h_kv",
     .type = FieldType::kInt64,
     .offset = AT(h_kv),
     .least = 1,
     .most = 1 << 20,
     .fallback = 1,
     .flag = "--kv-heads",
     .match = Match::kValue,
     .help = "KV heads, 1 in MLA"},
    {.name = "d_qk",
     .type = FieldType::kInt64,
     .offset = AT(d_qk),
     .least = 1,
     .most = 1 << 16,
     .fallback = 576,
     .flag = "--d-qk",
     .match = Match::kValue,
     .help = "columns of a query and of a cached token"},
    {.name = "d_v",
     .type = FieldType::kInt64,
     .offset = AT(d_v),
     .least = 1,
     .most = 1 << 16,
     .fallback = 512,
     .flag = "--d-v",
     .match = Match::kValue,
     .help = "columns of a value: the first of a cached token"},
    {.name = "page_size",
     .type = FieldType::kInt64,
     .offset = AT(page_size),
     .least = 1,
     .most = INT32_MAX,
     .fallback = 64,
     .flag = "--page-size",
     .match = Match::kValue,
     .help = "tokens of a page"},
    {.name = "max_pages_per_sequence",
     .type = FieldType::kInt64,
     .offset = AT(max_pages_per_sequence),
     .least = 0,
     .most = INT32_MAX,
     .match = Match::kClass,
     .help = "columns of the block table"},
    {.name = "kv_page_stride",
     .type = FieldType::kInt64,
     .offset = AT(kv_page_stride),
     .least = 0,
     .most = kMostStride,
     .from = "kv_cache.stride.0",
     .help = "elements from a page to the next; 0: packed"},
    {.name = "kv_token_stride",
     .type = FieldType::kInt64,
     .offset = AT(kv_token_stride),
     .least = 0,
     .most = kMostStride,
     .from = "kv_cache.stride.1",
     .help = "elements from a token to the next; 0: packed"},
    {.name = "kv_head_stride",
     .type = FieldType::kInt64,
     .offset = AT(kv_head_stride),
     .least = 0,
     .most = kMostStride,
     .from = "kv_cache.stride.2",
     .help = "elements from a KV head to the next; 0: packed"},
    {.name = "causal",
     .type = FieldType::kChoice,
     .offset = AT(causal),
     .choices = kNoOrYes,
     .from = "-",
     .flag = "--causal",
     .help = "query token i of s_q sees the first seq_len - s_q + i + 1 keys"},
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
    {.name = "kv_columns",
     .type = FieldType::kInt64,
     .offset = AT(kv_columns),
     .least = 0,
     .most = 1 << 18,
     .help = "elements of a token in the cache's last dimension; default: what the format needs"},
};
#undef AT

#define AT(field) offsetof(seesaw_dense_decode_args, field)
constexpr Arg kArgs[] = {
    {.name = "q", .offset = AT(q), .shape = "[b, s_q, h_q, d_qk]", .dtype = "q_dtype"},
    {.name = "kv_cache",
     .offset = AT(kv_cache),
     .shape = "[num_pages, page_size, h_kv, kv_columns]",
     .dtype = "kv_format"},
    {.name = "block_table",
     .offset = AT(block_table),
     .shape = "[b, max_pages_per_sequence]",
     .dtype = "int32",
     .help = "page ids"},
    {.name = "seq_lens",
     .offset = AT(seq_lens),
     .shape = "[b]",
     .dtype = "int32",
     .prepares = true,
     .help = "tokens in the cache, the s_q new ones included"},
    {.name = "out",
     .offset = AT(out),
     .shape = "[b, s_q, h_q, d_v]",
     .dtype = "q_dtype",
     .use = Use::kOut},
    {.name = "lse",
     .offset = AT(lse),
     .shape = "[b, h_q, s_q]",
     .dtype = "float32",
     .use = Use::kOut,
     .optional = true},
    {.name = "kv_scale",
     .offset = AT(kv_scale),
     .shape = "[one]",
     .dtype = "float32",
     .optional = true,
     .help = "what the cache's numbers are multiplied by, for formats of one scale"},
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
    erase<sm90::Variant>({"sm90.dense_decode.bf16", SEESAW_CUDA, "Hopper GPUs", split::kSplitKnobs,
                          sm90::kLimits<SEESAW_BFLOAT16>}),
    erase<sm90::Variant>({"sm90.dense_decode.fp16", SEESAW_CUDA, "Hopper GPUs", split::kSplitKnobs,
                          sm90::kLimits<SEESAW_FLOAT16>}),
    erase<sm80::DenseDecode>({"sm80.dense_decode", SEESAW_CUDA, "GPUs of compute capability 8.0 on",
                              attention::sm80::kKnobs}),
#endif
    erase<cpu::DenseDecode>({"cpu.dense_decode", SEESAW_CPU, "any CPU", attention::cpu::kKnobs}),
    erase<reference::DenseDecode>({"reference.dense_decode", SEESAW_CPU, "any CPU"}),
};

}  // namespace

const Operation kOperation = {
    .name = "dense_decode",
    .help = "attention of a few query tokens over a paged cache of latents",
    .problem_bytes = sizeof(seesaw_dense_decode_problem),
    .args_bytes = sizeof(seesaw_dense_decode_args),
    .problem = kProblem,
    .args = kArgs,
    .scalars = kScalars,
    .kernels = kKernels,
    .complete = [](void* problem) { return complete(static_cast<DenseDecodeProblem*>(problem)); },
    .work =
        [](const void* problem, const Options& options, const void* args) {
          return work_of(*static_cast<const DenseDecodeProblem*>(problem), options,
                         *static_cast<const Args*>(args));
        },
};

}  // namespace seesaw::dense_decode
