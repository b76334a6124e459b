// The kernels that the cores on host memory are for an operation: rows of its table. Nothing of an
// operation is known here but these functions of its namespace, found by their arguments:
//   attention::Problem attention_of(problem)
//   attention::Call call_of(problem, args, call)
//   Status check_call(problem, args)         what the table cannot compare; reads no tensor
//   Status check_before_prepare(plan, args)  of what lies in host memory
//   Status check_before_run(plan, args)      the same
// and its plan: an attention::Plan with the operation's `problem`.
#pragma once

#include "attention/cpu/attention.hpp"
#include "attention/host.hpp"
#include "attention/reference/attention.hpp"
#include "core/operation.hpp"

namespace seesaw::attention {

// A core on host memory.
template <typename Core, typename PlanType, typename Args>
struct HostKernel {
  using Problem = decltype(PlanType::problem);
  using Functions = KernelFunctions<Problem, Args, PlanType>;

  static Support supports(const Problem&, const Options&) { return Core::supports(); }

  static Status plan(const Problem& problem, const Options& options, KnobValues knobs,
                     PlanType* made) {
    made->problem = problem;
    return Core::plan(attention_of(problem), options, knobs, made);
  }

  static Status prepare(const PlanType& plan, const Args& args, const seesaw::Call& call) {
    SEESAW_RETURN_IF_ERROR(check_before_prepare(plan, args));
    return prepare_on_host(plan, call_of(plan.problem, args, call), call.schedule);
  }

  static Status run(const PlanType& plan, const Args& args, const seesaw::Call& call) {
    return checked(plan, args, call, [&](const Call& described) { Core::run(plan, described); });
  }

  static Status trace(const PlanType& plan, const Args& args, const seesaw::Call& call,
                      Trace* trace) {
    return checked(plan, args, call,
                   [&](const Call& described) { Core::trace(plan, described, trace); });
  }

  static constexpr Functions functions() {
    Functions functions = {.supports = supports,
                           .plan = plan,
                           .prepare = prepare,
                           .run = run,
                           .pieces = list_pieces_of<PlanType>};
    if constexpr (Core::kTraces) {
      functions.trace = trace;
    }
    return functions;
  }
  static constexpr Functions kFunctions = functions();

 private:
  template <typename Run>
  static Status checked(const PlanType& plan, const Args& args, const seesaw::Call& call, Run run) {
    SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
    SEESAW_RETURN_IF_ERROR(check_before_run(plan, args));
    const Call described = call_of(plan.problem, args, call);
    SEESAW_RETURN_IF_ERROR(check_on_host(plan, described));
    run(described);
    return {};
  }
};

struct CpuCore {
  static constexpr bool kTraces = true;
  static constexpr auto supports = cpu::supports;
  static constexpr auto plan = cpu::plan;
  static constexpr auto run = cpu::run;
  static constexpr auto trace = cpu::trace;
};
template <typename PlanType, typename Args>
using CpuKernel = HostKernel<CpuCore, PlanType, Args>;

struct ReferenceCore {
  static constexpr bool kTraces = false;
  static Support supports() { return Support::yes(); }
  static constexpr auto plan = reference::plan;
  static constexpr auto run = reference::run;
};
template <typename PlanType, typename Args>
using ReferenceKernel = HostKernel<ReferenceCore, PlanType, Args>;

}  // namespace seesaw::attention
