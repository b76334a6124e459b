#include "ops/dense_decode/operation.hpp"

#include <array>
#include <string_view>

#include "ops/dense_decode/cpu/dense_decode.hpp"
#include "ops/dense_decode/cpu/trace.hpp"
#include "ops/dense_decode/reference/dense_decode.hpp"
#include "engine/disabled.hpp"
#ifdef SEESAW_WITH_CUDA
#include "ops/dense_decode/sm90/dense_decode.hpp"
#include "ops/dense_decode/sm90/trace.hpp"
#endif

namespace seesaw::engine {
namespace {

// Kernels on host memory share the planner's host half. Lengths are validated.
Status schedule_on_host(const DenseDecodePlan& plan, const TensorView& seq_lens, void* schedule,
                        void* /*stream*/) {
  split::build_schedule(plan.split, static_cast<const int32_t*>(seq_lens.data), seq_lens.stride[0],
                       static_cast<int32_t>(seq_lens.shape[0]), schedule);
  return {};
}

constexpr std::array kKernels = {
#ifdef SEESAW_WITH_CUDA
    DenseDecodeKernel{.name = "sm90.dense_decode.bf16",
                      .supports = dense_decode::sm90::supports_dense_decode_bf16,
                      .plan = dense_decode::sm90::plan_dense_decode,
                      .schedule = dense_decode::sm90::schedule_dense_decode,
                      .run = dense_decode::sm90::run_dense_decode,
                      .trace = dense_decode::sm90::trace_dense_decode},
    DenseDecodeKernel{.name = "sm90.dense_decode.fp16",
                      .supports = dense_decode::sm90::supports_dense_decode_fp16,
                      .plan = dense_decode::sm90::plan_dense_decode,
                      .schedule = dense_decode::sm90::schedule_dense_decode,
                      .run = dense_decode::sm90::run_dense_decode,
                      .trace = dense_decode::sm90::trace_dense_decode},
#endif
    DenseDecodeKernel{.name = "cpu.dense_decode",
                      .supports = dense_decode::cpu::supports_dense_decode,
                      .plan = dense_decode::cpu::plan_dense_decode,
                      .schedule = schedule_on_host,
                      .run = dense_decode::cpu::run_dense_decode,
                      .trace = dense_decode::cpu::trace_dense_decode},
    DenseDecodeKernel{.name = "reference.dense_decode",
                      .supports = dense_decode::reference::supports_dense_decode,
                      .plan = dense_decode::reference::plan_dense_decode,
                      .schedule = schedule_on_host,
                      .run = dense_decode::reference::run_dense_decode},
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

}  // namespace seesaw::engine
