// The traced variants: queries of bf16, up to 512 columns of values.
#include <cuda_bf16.h>

#include "attention/sm80/instance.cuh"
#include "gpu/clock_marks.cuh"

namespace seesaw::attention::sm80 {
namespace {

// All warps of a block go through its tiles together: one lane.
template <int kRowWarps, bool kConverts>
using WithClock = gpu::Traced<Config<__nv_bfloat16, kWideColumns, kRowWarps, kConverts>,
                              Config<__nv_bfloat16, kWideColumns, kRowWarps, kConverts>::kThreads>;

}  // namespace

std::span<const Instance> traced_instances(bool converts) {
  static constexpr Instance kPlain[] = {instance_of<WithClock<1, false>>(),
                                        instance_of<WithClock<2, false>>()};
  static constexpr Instance kConverting[] = {instance_of<WithClock<1, true>>(),
                                             instance_of<WithClock<2, true>>()};
  return converts ? std::span<const Instance>(kConverting) : std::span<const Instance>(kPlain);
}

cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream) {
  return gpu::set_blocks_of_this_file(blocks, stream);
}

}  // namespace seesaw::attention::sm80
