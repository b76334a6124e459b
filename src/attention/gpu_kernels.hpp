// The kernels that the cores for GPUs are for an operation: rows of its table. What they want of
// the operation is in host_kernels.hpp, but for what is looked at in memory; with check_data that
// is device/check.hpp's, and of an operation with lists
//   Status check_lists(problem, attention::Call, attention::FindDoubtful)   tells what was found
#pragma once

#include "attention/device/check.hpp"
#include "attention/sm80/attention.hpp"
#include "attention/sm90/attention.hpp"
#include "core/operation.hpp"

namespace seesaw::attention {

// A core's functions.
struct Sm80Core {
  static constexpr auto supports = sm80::supports;
  static constexpr auto plan = sm80::plan;
  static constexpr auto prepare = sm80::prepare;
  static constexpr auto run = sm80::run;
  static constexpr auto trace = sm80::trace;
};
struct Sm90Core {
  static constexpr auto supports = sm90::supports;
  static constexpr auto plan = sm90::plan;
  static constexpr auto prepare = sm90::prepare;
  static constexpr auto run = sm90::run;
  static constexpr auto trace = sm90::trace;
};
// The same with operands swapped.
struct Sm90SwappedCore : Sm90Core {
  static constexpr auto supports = sm90::supports_swapped;
  static constexpr auto plan = sm90::plan_swapped;
};
// And with tiles by TMA, through a ring.
struct Sm90RingCore : Sm90Core {
  static constexpr auto supports = sm90::supports_ring;
  static constexpr auto plan = sm90::plan_ring;
  static constexpr auto run = sm90::run_ring;
  static constexpr auto trace = sm90::trace_ring;
};

// Launches on call.stream: nothing is allocated, copied to the host or waited for, except with
// options.check_data.
template <typename Core, typename PlanType, typename Args>
struct GpuKernel {
  using Problem = decltype(PlanType::problem);

  static Support supports(const Problem& problem, const Options& options) {
    return Core::supports(attention_of(problem), options);
  }

  static Status plan(const Problem& problem, const Options& options, KnobValues knobs,
                     PlanType* made) {
    made->problem = problem;
    return Core::plan(attention_of(problem), options, knobs, made);
  }

  static Status prepare(const PlanType& plan, const Args& args, const seesaw::Call& call) {
    return Core::prepare(plan, call_of(plan.problem, args, call), call.schedule, call.stream);
  }

  static Status run(const PlanType& plan, const Args& args, const seesaw::Call& call) {
    SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
    const Call described = call_of(plan.problem, args, call);
    if constexpr (requires(FindDoubtful find) { check_lists(plan.problem, described, find); }) {
      if (plan.options.check_data) {
        SEESAW_RETURN_IF_ERROR(
            check_lists(plan.problem, described,
                        [&](const Call& of, size_t stream, std::optional<Doubtful>* found) {
                          return device::first_doubtful(plan, of, stream, call.stream, found);
                        }));
      }
    }
    return Core::run(plan, described, call.stream);
  }

  static Status trace(const PlanType& plan, const Args& args, const seesaw::Call& call,
                      Trace* trace) {
    SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
    return Core::trace(plan, call_of(plan.problem, args, call), call.stream, trace);
  }

  static constexpr KernelFunctions<Problem, Args, PlanType> kFunctions = {
      .supports = supports,
      .plan = plan,
      .prepare = prepare,
      .run = run,
      .trace = trace,
      .pieces = list_pieces_of<PlanType>};
};

template <typename PlanType, typename Args>
using Sm80Kernel = GpuKernel<Sm80Core, PlanType, Args>;
template <typename PlanType, typename Args>
using Sm90Kernel = GpuKernel<Sm90Core, PlanType, Args>;
template <typename PlanType, typename Args>
using Sm90SwappedKernel = GpuKernel<Sm90SwappedCore, PlanType, Args>;
template <typename PlanType, typename Args>
using Sm90RingKernel = GpuKernel<Sm90RingCore, PlanType, Args>;

}  // namespace seesaw::attention
