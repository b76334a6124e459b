// append as data: the C ABI's structs with a few words for what follows from them. See
// include/seesaw/ops/append.h for the semantics.
#pragma once

#include <cstdint>

#include "core/cache_format.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"
#include "seesaw/ops/append.h"

namespace seesaw::append {

inline constexpr const char* kWhere = "append";

// The problem after complete(): no field is 0 that has a default; d_rope is 0 if there is none.
struct Problem : seesaw_append_problem {
  DType type() const { return static_cast<DType>(dtype); }
  CacheFormat format() const {
    return is_plain(kv_format) ? plain_format(static_cast<DType>(kv_format), d_latent, d_rope)
                               : cache_format(kv_format, 0);
  }
  ScaleRule scale_rule() const { return static_cast<ScaleRule>(scales); }
  bool rotates() const { return rotary != SEESAW_ROTARY_NONE; }
};
static_assert(sizeof(Problem) == sizeof(seesaw_append_problem));

using Args = seesaw_append_args;

struct AppendPlan : Plan {
  Problem problem;
  Options options;
};
using Functions = KernelFunctions<Problem, Args, AppendPlan>;

// Tokens of one call, up to the problem's.
inline int64_t tokens_of(const Args& args) { return args.c_kv.shape[0]; }

// Slots of the cache: pages times tokens of a page.
inline int64_t slots_of(const Args& args) {
  return args.kv_cache.shape[0] * args.kv_cache.shape[1];
}

// The element type that tensors of a dtype have.
constexpr ElementType element_of(DType dtype) { return plain_format(dtype, 1).latent.type; }

constexpr bool is_plain_type(ElementType type) {
  return type == ElementType::kFloat32 || type == ElementType::kBFloat16 ||
         type == ElementType::kFloat16;
}

// How many columns are stored divided by a scale; the first of the record, all of one type and one
// behind the other.
constexpr int32_t scaled_columns_of(const CacheFormat& format) {
  return format.tensor_scale ? format.columns() : format.scaled_columns;
}

// Kernels store the scaled columns as one run of elements, and the rest as another.
constexpr bool is_two_runs(const CacheFormat& format) {
  const int32_t scaled = scaled_columns_of(format);
  const bool follows = format.rotary.type == format.latent.type &&
                       format.rotary.offset == format.latent.offset + format.latent.size_bytes();
  return !is_plain_type(format.latent.type) && format.latent.place == Place::kRow &&
         format.rotary.place == Place::kRow &&
         (scaled == format.columns()
              ? format.rotary.count == 0 || follows
              : scaled == format.latent.count && is_plain_type(format.rotary.type)) &&
         (format.tensor_scale ? format.scales.count == 0
                              : format.scales.count * format.scale_group == scaled);
}
constexpr int32_t kMostRecordColumns = 576;  // of formats with scales
constexpr bool all_are_two_runs() {
  for (const CacheFormat& format : kByteFormats) {
    if (!is_two_runs(format) || format.columns() > kMostRecordColumns) {
      return false;
    }
  }
  return true;
}
static_assert(all_are_two_runs());

Status complete(Problem* problem);

// Whether the tensors of a call are those that the problem's choices ask for.
Status check_tensors(const Problem& problem, const Args& args);

// Numbers that tell a kernel where to write and by what to divide, in host memory.
Status check_numbers(const Problem& problem, const Args& args);

// The messages of bad ones; also for numbers found on a device.
Status bad_slot(const Args& args, int64_t token, int64_t slot);
Status bad_position(const Args& args, int64_t token, int64_t position);
Status bad_scale(int64_t token, int64_t index, float scale);
Status bad_kv_scale(float scale);

Work work_of(const Problem& problem, const Options& options, const Args& args);

// The same for every kernel on the CPU: there is nothing to decide.
Status plan(const Problem& problem, const Options& options, KnobValues knobs, AppendPlan* plan);
Support supports_cpu(const Problem& problem, const Options& options);
Status run_reference(const AppendPlan& plan, const Args& args, const Call& call);
Status run_cpu(const AppendPlan& plan, const Args& args, const Call& call);

}  // namespace seesaw::append
