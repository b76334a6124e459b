// A plan: the kernel chosen for a problem, what it decided, and what its calls are checked against.
#pragma once

#include <memory>
#include <string>

#include "base/status.hpp"
#include "core/operation.hpp"
#include "engine/arguments.hpp"
#include "seesaw/seesaw.h"

struct seesaw_plan {
  seesaw_plan(const seesaw::Operation& planned_operation, const seesaw::Kernel& planned_kernel,
              const void* planned_problem, const seesaw::Options& planned_options)
      : operation(planned_operation),
        kernel(planned_kernel),
        options(planned_options),
        checker(planned_operation, planned_problem, planned_options.device) {}

  const seesaw::Operation& operation;
  const seesaw::Kernel& kernel;
  seesaw::Options options;
  std::unique_ptr<std::byte[]> problem;  // operation.problem_bytes, complete
  seesaw::engine::ArgumentChecker checker;
  std::unique_ptr<seesaw::Plan> planned;
  bool tuned = false;
  std::string tuning;
  std::string tuning_key;
};

namespace seesaw::engine {

// The kernel's answer, unless the environment variable SEESAW_DISABLE names it, its device is
// another or the problem is not within its limits.
Support supports(const Operation& operation, const Kernel& kernel, const void* problem,
                 const Options& options);

// Selects a kernel for the complete problem and lets it plan.
Status make_plan(const Operation& operation, const void* problem, const Options& options,
                 std::unique_ptr<seesaw_plan>* plan);

// Memory that a call brings: at least `needed_bytes`, aligned to 256.
Status check_buffer(const char* where, const char* name, const void* data, uint64_t given_bytes,
                    uint64_t needed_bytes);

// A caller's arguments and call structs of any version, checked against the plan. `args` points to
// memory for the operation's arguments struct.
inline constexpr size_t kMaxArgsBytes = 4096;
struct ArgsBytes {
  alignas(8) std::byte data[kMaxArgsBytes];
};
Status read_call(const seesaw_plan& plan, const void* from_args, const seesaw_call* from_call,
                 bool prepare, ArgsBytes* args, Call* call);

}  // namespace seesaw::engine
