#include "engine/plan.hpp"

#include <cstring>
#include <string_view>

#include "base/message.hpp"
#include "boundary/sized.hpp"
#include "engine/disabled.hpp"
#include "engine/limits.hpp"
#include "engine/tuning.hpp"

namespace seesaw::engine {
namespace {

constexpr uint64_t kBufferAlignment = 256;

// The kernel insisted on, or the first that can; the reasons of all if none can.
Status select(const Operation& operation, const void* problem, const Options& options,
              const Kernel** selected) {
  std::string names;
  std::string reasons;
  for (const Kernel& kernel : operation.kernels) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", kernel.name);
    if (!options.kernel.empty() && options.kernel != kernel.name) {
      continue;
    }
    const Support support = supports(operation, kernel, problem, options);
    if (support.supported) {
      *selected = &kernel;
      return {};
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", kernel.name, support.reason);
  }
  if (reasons.empty()) {
    return invalid_argument(
        four_part_message(operation.name, fmt::format("kernel = \"{}\"", options.kernel), names,
                          "Name one of these, or none to let the library choose."));
  }
  return not_supported(
      four_part_message(operation.name,
                        options.kernel.empty() ? "a problem that no kernel of this build runs here"
                                               : "a problem that the kernel insisted on cannot run",
                        fmt::format("what the kernels support ({})", reasons),
                        "Change the problem accordingly, or choose another device or kernel."));
}

}  // namespace

Status check_buffer(const char* where, const char* name, const void* data, uint64_t given_bytes,
                    uint64_t needed_bytes) {
  if (needed_bytes == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(require_pointer(where, data, name));
  if (given_bytes < needed_bytes) {
    return invalid_argument(four_part_message(
        where, fmt::format("{} of {} bytes", name, given_bytes),
        fmt::format("at least {}", needed_bytes), "Ask seesaw_plan_info for the size."));
  }
  if (reinterpret_cast<uintptr_t>(data) % kBufferAlignment != 0) {
    return invalid_argument(four_part_message(
        where, fmt::format("{} at address {}", name, data),
        fmt::format("multiples of {} bytes", kBufferAlignment), "Allocate it aligned."));
  }
  return {};
}

Support supports(const Operation& operation, const Kernel& kernel, const void* problem,
                 const Options& options) {
  const std::string_view entry = disabled_by_environment(kernel.name);
  if (!entry.empty()) {
    return Support::no("disabled by \"" + std::string(entry) +
                       "\" in the environment variable SEESAW_DISABLE");
  }
  if (kernel.device != options.device.type) {
    return Support::no(kernel.device == SEESAW_CPU
                           ? "runs on the CPU only; the tensors are on a GPU"
                           : "runs on NVIDIA GPUs; the tensors are on the CPU");
  }
  const Support within = within_limits(operation, kernel, problem);
  return within.supported ? kernel.supports(problem, options) : within;
}

Status make_plan(const Operation& operation, const void* problem, const Options& options,
                 std::unique_ptr<seesaw_plan>* plan) {
  const Kernel* kernel = nullptr;
  SEESAW_RETURN_IF_ERROR(select(operation, problem, options, &kernel));
  Tuning tuning;
  SEESAW_RETURN_IF_ERROR(find_tuning(operation, *kernel, problem, options, &tuning));
  auto made = std::make_unique<seesaw_plan>(operation, *kernel, problem, options);
  SEESAW_RETURN_IF_ERROR(kernel->plan(problem, options, tuning.values, &made->planned));
  made->problem = std::make_unique<std::byte[]>(operation.problem_bytes);
  std::memcpy(made->problem.get(), problem, operation.problem_bytes);
  made->tuned = tuning.tuned;
  made->tuning = std::move(tuning.text);
  made->tuning_key = std::move(tuning.key);
  *plan = std::move(made);
  return {};
}

Status read_call(const seesaw_plan& plan, const void* from_args, const seesaw_call* from_call,
                 bool prepare, ArgsBytes* args, Call* call) {
  const char* where = plan.operation.name;
  SEESAW_RETURN_IF_ERROR(
      read_sized(where, "args", from_args, plan.operation.args_bytes, args->data));
  SEESAW_RETURN_IF_ERROR(read_sized(where, "call", from_call, call));
  SEESAW_RETURN_IF_ERROR(plan.checker.check(args->data, prepare));
  SEESAW_RETURN_IF_ERROR(check_buffer(where, "schedule", call->schedule, call->schedule_bytes,
                                      plan.planned->schedule_bytes));
  return prepare ? Status()
                 : check_buffer(where, "workspace", call->workspace, call->workspace_bytes,
                                plan.planned->workspace_bytes);
}

}  // namespace seesaw::engine
