// The traced variants: queries of bf16, both widths, rows copied and records converted, and with a
// ring.
#include "attention/sm90/instance.cuh"
#include "gpu/clock_marks.cuh"

namespace seesaw::attention::sm90 {
namespace {

// Lanes are the consumer warpgroups, of tiles also the producers.
template <int kQkColumns, bool kConverts, int kRows>
constexpr Instance kWithClock = {
    kKey<__nv_bfloat16, kQkColumns, kConverts, kRows>,
    launch_instance<
        gpu::Traced<Config<__nv_bfloat16, kQkColumns, kConverts, kRows>, kWarpgroupThreads>>};

template <int kQkColumns>
constexpr RingInstance kRingWithClock = {
    kKey<__nv_bfloat16, kQkColumns, false, kSwappedRows>,
    launch_ring_instance<gpu::Traced<RingConfig<__nv_bfloat16, kQkColumns>, kWarpgroupThreads>>};

}  // namespace

std::span<const Instance> traced_instances() {
  static constexpr Instance kInstances[] = {
      kWithClock<576, true, kTileRows>,  kWithClock<576, true, kSwappedRows>,
      kWithClock<512, true, kTileRows>,  kWithClock<512, true, kSwappedRows>,
      kWithClock<576, false, kTileRows>, kWithClock<576, false, kSwappedRows>,
      kWithClock<512, false, kTileRows>, kWithClock<512, false, kSwappedRows>,
  };
  return kInstances;
}

std::span<const RingInstance> traced_ring_instances() {
  static constexpr RingInstance kInstances[] = {kRingWithClock<576>, kRingWithClock<512>};
  return kInstances;
}

cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream) {
  return gpu::set_blocks_of_this_file(blocks, stream);
}

}  // namespace seesaw::attention::sm90
