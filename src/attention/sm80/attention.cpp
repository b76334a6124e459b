#include "attention/sm80/attention.hpp"

#include <algorithm>
#include <cstdint>
#include <string>

#include "attention/device/plan.hpp"
#include "attention/device/run.hpp"
#include "attention/device/trace.hpp"
#include "attention/sm80/launch.hpp"
#include "base/message.hpp"
#include "gpu/device.hpp"

namespace seesaw::attention::sm80 {
namespace {

constexpr char kWhere[] = "attention (sm80)";

// Shared memory for each of `blocks` thread blocks of an SM, of which CUDA keeps 1 KB a block.
int32_t shared_bytes_of_block(const gpu::DeviceProperties& device, int32_t blocks) {
  constexpr int32_t kKept = 1 << 10;
  return (device.max_shared_bytes + kKept) / blocks - kKept;
}

// Blocks of 16 rows share an SM by twos, where the layout allows it.
int32_t blocks_per_sm(const Instance& instance) { return 2 / instance.numbers.row_warps; }

struct Choice {
  const Instance* instance;
  int32_t blocks;        // of an SM
  int32_t shared_bytes;  // that a block may take
};

Choice choose(const Problem& problem, const gpu::DeviceProperties& device, int32_t tile_rows,
              int32_t most_bytes) {
  const Instance& instance = instance_for(problem, tile_rows);
  int32_t blocks = blocks_per_sm(instance);
  int32_t bytes = std::min(shared_bytes_of_block(device, blocks), most_bytes);
  if (blocks > 1 && layout_for(problem, instance.numbers, bytes).bytes == 0) {
    blocks = 1;
    bytes = std::min(shared_bytes_of_block(device, blocks), most_bytes);
  }
  return {&instance, blocks, bytes};
}

int32_t tile_rows_of(const Problem& problem) {
  return problem.rows() <= kWarpRows ? kWarpRows : 2 * kWarpRows;
}

Support supports_numbers(const Problem& problem) {
  if (problem.q_type == DType::kFloat32) {
    return Support::no("q_dtype = float32, supported: bfloat16, float16");
  }
  if (problem.d_v > kWideColumns || problem.d_qk > kWideColumns + kRotaryColumns) {
    return Support::no("d_qk = " + std::to_string(problem.d_qk) +
                       ", d_v = " + std::to_string(problem.d_v) + ", supported: up to 576 and 512");
  }
  return device::supports_grid(problem, 2 * kWarpRows);
}

}  // namespace

Support supports(const Problem& problem, const Options& options) {
  const Support numbers = supports_numbers(problem);
  if (!numbers.supported) {
    return numbers;
  }
  const Support device = gpu::runs_sm80(options.device.index);
  if (!device.supported) {
    return device;
  }
  const gpu::DeviceProperties& properties = *gpu::device_of(options.device.index).properties;
  const Choice choice =
      choose(problem, properties, tile_rows_of(problem), properties.max_shared_bytes);
  if (layout_for(problem, choice.instance->numbers, choice.shared_bytes).bytes == 0) {
    return Support::no("a tile of the cache does not fit into the " +
                       std::to_string(properties.max_shared_bytes / 1024) +
                       " KB of shared memory of a thread block");
  }
  return Support::yes();
}

Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  const gpu::DeviceProperties& properties = *gpu::device_of(options.device.index).properties;
  const auto knob = [&](size_t which, int32_t otherwise) {
    return knobs.size() > which && knobs[which] != kUnset ? knobs[which] : otherwise;
  };
  const int32_t tile_rows = knob(kTileRowsKnob, tile_rows_of(problem));
  const Choice choice =
      choose(problem, properties, tile_rows, knob(kSharedBytesKnob, properties.max_shared_bytes));
  plan->variant = choice.shared_bytes;
  if (layout_for(problem, choice.instance->numbers, choice.shared_bytes).bytes == 0) {
    return invalid_argument(std::string(kWhere) +
                            ": shared_bytes = " + std::to_string(choice.shared_bytes) +
                            ", needed: a tile of the cache and one that is converted from it. "
                            "Allow more.");
  }
  SEESAW_RETURN_IF_ERROR(device::make_plan(problem, options, knobs,
                                           {.tokens = kTileTokens,
                                            .rows = tile_rows,
                                            .blocks_per_sm = choice.blocks,
                                            .piece_cost_tiles = 6,
                                            .fixed_split_tiles = 64,
                                            .us = 1.0},
                                           plan));
  plan->numbers.push_back(
      {"shared_bytes", "shared memory that a thread block may take", choice.shared_bytes});
  return {};
}

Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream) {
  return device::prepare(plan, call, schedule, stream);
}

Status run(const Plan& plan, const Call& call, void* stream) {
  return device::run(plan, call, stream, launch_attention);
}

Status trace(const Plan& plan, const Call& call, void* stream, Trace* trace) {
  const Problem& problem = plan.attention;
  if (!has_traced_variant(problem)) {
    return not_supported(four_part_message(
        kWhere,
        fmt::format("a trace of {} with d_qk {} and d_v {}", name_of(problem.q_type), problem.d_qk,
                    problem.d_v),
        "bfloat16 and more columns than 256 of values or 320 in all, which the traced variant is "
        "compiled for",
        "Trace such a problem, or use Nsight Compute."));
  }
  return device::trace(plan, call, stream,
                       {.lanes = 1, .set_blocks = set_trace_blocks, .launch = launch_traced},
                       trace);
}

}  // namespace seesaw::attention::sm80
