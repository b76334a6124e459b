// The traced variants: queries of bf16, both widths, rows copied and records converted.
#include "attention/sm90/instance.cuh"
#include "gpu/clock_marks.cuh"

namespace seesaw::attention::sm90 {
namespace {

// Lanes are the consumer warpgroups.
template <int kQkColumns, bool kConverts>
constexpr AttentionKernel kWithClock =
    launch_instance<gpu::Traced<Config<__nv_bfloat16, kQkColumns, kConverts>, kWarpgroupThreads>>;

}  // namespace

AttentionKernel find_traced_kernel(const InstanceKey& key) {
  if (key.type != DType::kBFloat16) return nullptr;
  if (key.d_qk == 576) return key.converts ? kWithClock<576, true> : kWithClock<576, false>;
  return key.converts ? kWithClock<512, true> : kWithClock<512, false>;
}

cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream) {
  return gpu::set_blocks_of_this_file(blocks, stream);
}

}  // namespace seesaw::attention::sm90
