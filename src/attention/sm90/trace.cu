// The traced variants: queries of bf16, both widths, rows copied and records converted.
#include "attention/sm90/instance.cuh"
#include "gpu/clock_marks.cuh"

namespace seesaw::attention::sm90 {
namespace {

// Lanes are the consumer warpgroups.
template <int kQkColumns, bool kConverts, int kRows>
constexpr Instance kWithClock = {
    kKey<__nv_bfloat16, kQkColumns, kConverts, kRows>,
    launch_instance<
        gpu::Traced<Config<__nv_bfloat16, kQkColumns, kConverts, kRows>, kWarpgroupThreads>>};

}  // namespace

std::span<const Instance> traced_instances() {
  static constexpr Instance kInstances[] = {
      kWithClock<576, true, 64>,  kWithClock<576, true, 32>,  kWithClock<576, true, 16>,
      kWithClock<512, true, 64>,  kWithClock<512, true, 32>,  kWithClock<512, true, 16>,
      kWithClock<576, false, 64>, kWithClock<576, false, 32>, kWithClock<576, false, 16>,
      kWithClock<512, false, 64>, kWithClock<512, false, 32>, kWithClock<512, false, 16>,
  };
  return kInstances;
}

cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream) {
  return gpu::set_blocks_of_this_file(blocks, stream);
}

}  // namespace seesaw::attention::sm90
