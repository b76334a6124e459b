#include "registry/dense_decode.hpp"

#include <array>
#include <string_view>

#include "kernels/cpu/dense_decode.hpp"
#include "kernels/cpu/trace.hpp"
#include "kernels/reference/dense_decode.hpp"
#include "registry/disabled.hpp"
#ifdef SEESAW_WITH_CUDA
#include "kernels/sm90/dense_decode.hpp"
#include "kernels/sm90/dense_decode/trace.hpp"
#endif

namespace seesaw::registry {
namespace {

// Kernels on host memory share the planner's host half. Lengths are validated.
Status schedule_on_host(const DenseDecodePlan& plan, const TensorView& seq_lens, void* schedule,
                        void* /*stream*/) {
  plan::build_schedule(plan.split, static_cast<const int32_t*>(seq_lens.data), seq_lens.stride[0],
                       static_cast<int32_t>(seq_lens.shape[0]), schedule);
  return {};
}

constexpr std::array kKernels = {
#ifdef SEESAW_WITH_CUDA
    DenseDecodeKernel{.name = "sm90.dense_decode.bf16",
                      .supports = sm90::supports_dense_decode_bf16,
                      .plan = sm90::plan_dense_decode,
                      .schedule = sm90::schedule_dense_decode,
                      .run = sm90::run_dense_decode,
                      .trace = sm90::trace_dense_decode},
    DenseDecodeKernel{.name = "sm90.dense_decode.fp16",
                      .supports = sm90::supports_dense_decode_fp16,
                      .plan = sm90::plan_dense_decode,
                      .schedule = sm90::schedule_dense_decode,
                      .run = sm90::run_dense_decode,
                      .trace = sm90::trace_dense_decode},
#endif
    DenseDecodeKernel{.name = "cpu.dense_decode",
                      .supports = cpu::supports_dense_decode,
                      .plan = cpu::plan_dense_decode,
                      .schedule = schedule_on_host,
                      .run = cpu::run_dense_decode,
                      .trace = cpu::trace_dense_decode},
    DenseDecodeKernel{.name = "reference.dense_decode",
                      .supports = reference::supports_dense_decode,
                      .plan = reference::plan_dense_decode,
                      .schedule = schedule_on_host,
                      .run = reference::run_dense_decode},
};

static_assert(kKernels.size() <= kMaxDenseDecodeKernels);

}  // namespace

std::span<const DenseDecodeKernel> dense_decode_kernels() { return kKernels; }

Support supports(const DenseDecodeKernel& kernel, const DenseDecodeProblem& problem) {
  const std::string_view entry = disabled_by_environment(kernel.name);
  if (!entry.empty()) {
    return Support::no("disabled by \"" + std::string(entry) +
                       "\" in the environment variable SEESAW_DISABLE");
  }
  return kernel.supports(problem);
}

bool runs_on_host(const DenseDecodeKernel& kernel) { return kernel.schedule == schedule_on_host; }

}  // namespace seesaw::registry
