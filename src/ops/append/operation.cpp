// append as tables: the problem's fields, the arguments, the kernels in order of preference.
#include "ops/append/operation.hpp"

#include <array>

#include "core/format_choices.hpp"
#include "ops/append/problem.hpp"
#ifdef SEESAW_WITH_CUDA
#include "ops/append/gpu/append.hpp"
#endif

namespace seesaw::append {
namespace {

constexpr int64_t kMostStride = INT64_MAX / 8;
constexpr Choice kScaleRules[] = {{"power_of_two", SEESAW_SCALES_POWER_OF_TWO},
                                  {"exact", SEESAW_SCALES_EXACT},
                                  {"given", SEESAW_SCALES_GIVEN}};
constexpr Choice kRotaries[] = {{"none", SEESAW_ROTARY_NONE},
                                {"interleaved", SEESAW_ROTARY_INTERLEAVED},
                                {"half_split", SEESAW_ROTARY_HALF_SPLIT}};

#define AT(field) offsetof(seesaw_append_problem, field)
constexpr Field kProblem[] = {
    {.name = "dtype",
     .type = FieldType::kDType,
     .offset = AT(dtype),
     .fallback = SEESAW_BFLOAT16,
     .choices = kFloatTypes,
     .from = "c_kv.dtype",
     .flag = "--dtype",
     .match = Match::kValue,
     .help = "dtype of c_kv, k_rope and q_rope"},
    {.name = "kv_format",
     .type = FieldType::kFormat,
     .offset = AT(kv_format),
     .choices = kFormatChoices,
     .from = "kv_cache.dtype",
     .flag = "--kv-format,--kv-dtype,--kv",
     .match = Match::kValue,
     .help = "format of the cache; default: as dtype"},
    {.name = "tokens",
     .type = FieldType::kInt64,
     .offset = AT(tokens),
     .most = 1 << 30,
     .from = "t",
     .flag = "--tokens",
     .match = Match::kClass,
     .help = "the most tokens of one call; a call may bring fewer"},
    {.name = "d_latent",
     .type = FieldType::kInt64,
     .offset = AT(d_latent),
     .most = 1 << 16,
     .match = Match::kValue,
     .help = "columns of c_kv; default: the format's, or 512"},
    {.name = "d_rope",
     .type = FieldType::kInt64,
     .offset = AT(d_rope),
     .least = -1,
     .most = 1 << 16,
     .match = Match::kValue,
     .help = "columns of k_rope; -1: none; default: the format's, or 64"},
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
     .most = 1 << 18,
     .help = "elements of a token in the cache's last dimension; default: what the format needs"},
    {.name = "kv_page_stride",
     .type = FieldType::kInt64,
     .offset = AT(kv_page_stride),
     .most = kMostStride,
     .from = "kv_cache.stride.0",
     .help = "elements from a page to the next; 0: packed"},
    {.name = "kv_token_stride",
     .type = FieldType::kInt64,
     .offset = AT(kv_token_stride),
     .most = kMostStride,
     .from = "kv_cache.stride.1",
     .help = "elements from a token to the next; 0: packed"},
    {.name = "scales",
     .type = FieldType::kChoice,
     .offset = AT(scales),
     .choices = kScaleRules,
     .from = "-",
     .match = Match::kValue,
     .help = "scales of a token: powers of two, exact, or given with the call"},
    {.name = "rotary",
     .type = FieldType::kChoice,
     .offset = AT(rotary),
     .choices = kRotaries,
     .from = "-",
     .match = Match::kValue,
     .help = "rotary embedding of k_rope and q_rope: none, or which columns turn together"},
    {.name = "h_q",
     .type = FieldType::kInt64,
     .offset = AT(h_q),
     .least = 1,
     .most = 1 << 20,
     .fallback = 1,
     .flag = "--heads",
     .match = Match::kValue,
     .help = "heads of q_rope"},
    {.name = "cos_sin_dtype",
     .type = FieldType::kDType,
     .offset = AT(cos_sin_dtype),
     .fallback = SEESAW_FLOAT32,
     .choices = kFloatTypes,
     .from = "cos_sin.dtype",
     .help = "dtype of cos_sin"},
};
#undef AT

#define AT(field) offsetof(seesaw_append_args, field)
constexpr Arg kArgs[] = {
    {.name = "c_kv", .offset = AT(c_kv), .shape = "[t, d_latent]", .dtype = "dtype"},
    {.name = "k_rope",
     .offset = AT(k_rope),
     .shape = "[t, d_rope]",
     .dtype = "dtype",
     .optional = true,
     .help = "needed if d_rope is not none"},
    {.name = "slot_mapping",
     .offset = AT(slot_mapping),
     .shape = "[t]",
     .dtype = "int64",
     .help = "page * page_size + place; negative: skipped"},
    {.name = "kv_cache",
     .offset = AT(kv_cache),
     .shape = "[num_pages, page_size, kv_columns]",
     .dtype = "kv_format",
     .use = Use::kInOut,
     .help = "written at the slots, nowhere else"},
    {.name = "kv_scale",
     .offset = AT(kv_scale),
     .shape = "[1]",
     .dtype = "float32",
     .optional = true,
     .help = "what is stored is divided by it, for formats of one scale"},
    {.name = "scales",
     .offset = AT(scales),
     .shape = "[t, num_scales]",
     .dtype = "float32",
     .optional = true,
     .help = "a token's scales, for scales = given"},
    {.name = "positions",
     .offset = AT(positions),
     .shape = "[t]",
     .dtype = "int64",
     .optional = true,
     .help = "rows of cos_sin, for rotary embedding"},
    {.name = "cos_sin",
     .offset = AT(cos_sin),
     .shape = "[max_position, d_rope]",
     .dtype = "cos_sin_dtype",
     .optional = true,
     .help = "cosines of d_rope / 2 frequencies, then their sines"},
    {.name = "q_rope",
     .offset = AT(q_rope),
     .shape = "[t, h_q, d_rope]",
     .dtype = "dtype",
     .use = Use::kInOut,
     .optional = true,
     .help = "rotated in place"},
    {.name = "saturated",
     .offset = AT(saturated),
     .shape = "[1]",
     .dtype = "int64",
     .use = Use::kInOut,
     .optional = true,
     .help = "grows by the number of values that were too large for their scale"},
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
    erase<gpu::Kernel>({"gpu.append", SEESAW_CUDA, "any GPU from sm_75"}),
#endif
    erase<CpuKernel>({"cpu.append", SEESAW_CPU, "any CPU"}),
    erase<ReferenceKernel>({"reference.append", SEESAW_CPU, "any CPU"}),
};

}  // namespace

const Operation kOperation = {
    .name = "append",
    .help = "tokens written to a paged cache in any format, rotated and quantised on the way",
    .problem_bytes = sizeof(seesaw_append_problem),
    .args_bytes = sizeof(seesaw_append_args),
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

}  // namespace seesaw::append
