// merge_states as data: the C ABI's structs with a few words for what follows from them. See
// include/seesaw/ops/merge_states.h for the semantics.
#pragma once

#include <cstdint>

#include "core/lse.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"
#include "seesaw/ops/merge_states.h"

namespace seesaw::merge_states {

struct Problem : seesaw_merge_states_problem {
  DType type() const { return static_cast<DType>(dtype); }
  // What takes an LSE to base 2, and back.
  double log2_per_unit() const {
    return lse_base == SEESAW_LSE_BASE2 ? 1.0 : 1.44269504088896340736;
  }
  bool empty_is_positive() const { return empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY; }
};
static_assert(sizeof(Problem) == sizeof(seesaw_merge_states_problem));

using Args = seesaw_merge_states_args;

struct MergePlan : Plan {
  Problem problem;
  Options options;
};
using Functions = KernelFunctions<Problem, Args, MergePlan>;

inline int64_t batch_of(const Args& args) { return args.out.shape[0]; }

// A row of the output: which token of which sequence, and which head.
struct Row {
  int64_t sequence;
  int64_t token;
  int64_t head;

  int64_t offset_in(const Tensor& tensor) const {
    return sequence * tensor.stride[0] + token * tensor.stride[1] + head * tensor.stride[2];
  }
};
inline Row row_at(const Problem& problem, int64_t index) {
  const int64_t token = index / problem.h;
  return {token / problem.s, token % problem.s, index % problem.h};
}

// The same for every kernel: there is nothing to decide.
Status plan(const Problem& problem, const Options& options, KnobValues knobs, MergePlan* plan);

// reference.merge_states and cpu.merge_states.
Support supports_cpu(const Problem& problem, const Options& options);
Status run_reference(const MergePlan& plan, const Args& args, const Call& call);
Status run_cpu(const MergePlan& plan, const Args& args, const Call& call);

}  // namespace seesaw::merge_states
