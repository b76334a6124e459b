// gather as tables: the problem's fields, the arguments, the kernels in order of preference.
#include "ops/gather/operation.hpp"

#include <array>

#include "core/format_choices.hpp"
#include "ops/gather/problem.hpp"
#ifdef SEESAW_WITH_CUDA
#include "ops/gather/gpu/gather.hpp"
#endif

namespace seesaw::gather {
namespace {

constexpr int64_t kMostStride = INT64_MAX / 8;
constexpr Choice kOutTypes[] = {{"float32", SEESAW_FLOAT32},
                                {"bfloat16", SEESAW_BFLOAT16},
                                {"float16", SEESAW_FLOAT16},
                                {"uint8", SEESAW_UINT8}};
constexpr Choice kSlotTypes[] = {{"int64", SEESAW_INT64}, {"int32", SEESAW_INT32}};

#define AT(field) offsetof(seesaw_gather_problem, field)
constexpr Field kProblem[] = {
    {.name = "kv_format",
     .type = FieldType::kFormat,
     .offset = AT(kv_format),
     .fallback = SEESAW_BFLOAT16,
     .choices = kFormatChoices,
     .from = "kv_cache.dtype",
     .flag = "--kv-format,--kv-dtype,--kv",
     .match = Match::kValue,
     .help = "format of the cache"},
    {.name = "out_dtype",
     .type = FieldType::kDType,
     .offset = AT(out_dtype),
     .choices = kOutTypes,
     .from = "out.dtype",
     .flag = "--dtype",
     .match = Match::kValue,
     .help = "dtype of the rows; uint8: as they are stored; default: the cache's own"},
    {.name = "rows",
     .type = FieldType::kInt64,
     .offset = AT(rows),
     .least = 1,
     .most = int64_t{1} << 40,
     .from = "n",
     .flag = "--rows",
     .match = Match::kClass,
     .help = "the most rows of one call; a call may bring fewer"},
    {.name = "batch",
     .type = FieldType::kInt64,
     .offset = AT(batch),
     .least = 1,
     .most = 1 << 30,
     .fallback = 1,
     .from = "b",
     .flag = "--batch",
     .match = Match::kClass,
     .help = "by pages: the most sequences of one call; a call may bring fewer"},
    {.name = "columns",
     .type = FieldType::kInt64,
     .offset = AT(columns),
     .least = 0,
     .most = 1 << 16,
     .from = "-",
     .flag = "--columns",
     .match = Match::kValue,
     .help = "numbers of a cached token; default: the format's, or 576"},
    {.name = "page_size",
     .type = FieldType::kInt64,
     .offset = AT(page_size),
     .least = 1,
     .most = INT32_MAX,
     .fallback = 64,
     .flag = "--page-size",
     .match = Match::kValue,
     .help = "tokens of a page"},
    {.name = "kv_columns",
     .type = FieldType::kInt64,
     .offset = AT(kv_columns),
     .least = 0,
     .most = 1 << 18,
     .help = "elements of a token in the cache's last dimension; default: what the format needs"},
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
    {.name = "out_columns",
     .type = FieldType::kInt64,
     .offset = AT(out_columns),
     .least = 0,
     .most = 1 << 18,
     .help = "elements of a row; default: columns, or the bytes of a token"},
    {.name = "slot_dtype",
     .type = FieldType::kDType,
     .offset = AT(slot_dtype),
     .fallback = SEESAW_INT64,
     .choices = kSlotTypes,
     .from = "slots.dtype",
     .help = "dtype of the slots: int64 or int32"},
};
#undef AT

#define AT(field) offsetof(seesaw_gather_args, field)
constexpr Arg kArgs[] = {
    {.name = "kv_cache",
     .offset = AT(kv_cache),
     .shape = "[num_pages, page_size, kv_columns]",
     .dtype = "kv_format"},
    {.name = "block_table",
     .offset = AT(block_table),
     .shape = "[b, max_pages]",
     .dtype = "int32",
     .optional = true,
     .help = "by pages: page ids"},
    {.name = "cu_seq_lens",
     .offset = AT(cu_seq_lens),
     .shape = "[b_and_one]",
     .dtype = "int32",
     .optional = true,
     .help = "by pages: first row of each sequence, and the end of the last: b + 1 numbers"},
    {.name = "starts",
     .offset = AT(starts),
     .shape = "[b]",
     .dtype = "int32",
     .optional = true,
     .help = "by pages: first token of each sequence; not given: 0"},
    {.name = "slots",
     .offset = AT(slots),
     .shape = "[n]",
     .dtype = "slot_dtype",
     .optional = true,
     .help = "by slots: page * page_size + place; negative or too large: a row of zeros"},
    {.name = "kv_scale",
     .offset = AT(kv_scale),
     .shape = "[one]",
     .dtype = "float32",
     .optional = true,
     .help = "what the cache's numbers are multiplied by, for formats of one scale"},
    {.name = "out",
     .offset = AT(out),
     .shape = "[n, out_columns]",
     .dtype = "out_dtype",
     .use = Use::kOut},
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
    erase<gpu::Kernel>({"gpu.gather", SEESAW_CUDA, "any GPU from sm_75"}),
#endif
    erase<CpuKernel>({"cpu.gather", SEESAW_CPU, "any CPU"}),
    erase<ReferenceKernel>({"reference.gather", SEESAW_CPU, "any CPU"}),
};

}  // namespace

const Operation kOperation = {
    .name = "gather",
    .help = "tokens of a paged cache as contiguous rows, stored bytes or numbers",
    .problem_bytes = sizeof(seesaw_gather_problem),
    .args_bytes = sizeof(seesaw_gather_args),
    .problem = kProblem,
    .args = kArgs,
    .scalars = {},
    .kernels = kKernels,
    .complete = [](void* problem) { return complete(static_cast<Problem*>(problem)); },
    .work =
        [](const void* problem, const Options& options, const void* args) {
          return work_of(*static_cast<const Problem*>(problem), options,
                         *static_cast<const Args*>(args));
        },
};

}  // namespace seesaw::gather
