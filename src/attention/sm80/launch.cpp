#include "attention/sm80/launch.hpp"

namespace seesaw::attention::sm80 {
namespace {

// One launch of a plan by an instance that is compiled for it.
struct Launch {
  const Plan& plan;
  const Geometry& geometry;
  const Call& call;
  gpu::Edge edge;
  cudaStream_t stream;

  Status by(const Instance& instance) const {
    const Problem& problem = plan.attention;
    Params params = {};
    SEESAW_RETURN_IF_ERROR(device::fill_params(plan, geometry, call, &params));
    params.shared = layout_for(problem, instance.numbers, plan.variant);
    params.q_plain = params.q_factor == 1.0F && params.q_unit >= 4 &&
                     problem.q_columns() >= value_columns(problem);
    return instance.launch(params, {.grid = device::grid_of(plan, geometry),
                                    .device = plan.options.device.index,
                                    .edge = edge,
                                    .stream = stream});
  }
};

}  // namespace

int32_t value_columns(const Problem& problem) {
  const bool narrow =
      problem.d_v <= kNarrowColumns && problem.d_qk <= kNarrowColumns + kRotaryColumns;
  return narrow ? kNarrowColumns : kWideColumns;
}

const Instance& find_instance(const InstanceKey& key) {
  const bool bf16 = key.type == DType::kBFloat16;
  const std::span<const Instance> instances =
      key.converts ? (bf16 ? bf16_converting_instances() : fp16_converting_instances())
                   : (bf16 ? bf16_instances() : fp16_instances());
  for (const Instance& instance : instances) {
    if (instance.numbers.value_columns == key.value_columns &&
        instance.numbers.tile_rows() == key.tile_rows) {
      return instance;
    }
  }
  return instances.front();
}

const Instance& instance_for(const Problem& problem, int32_t tile_rows) {
  return find_instance({.type = problem.q_type,
                        .converts = converts(problem),
                        .value_columns = value_columns(problem),
                        .tile_rows = tile_rows});
}

Status launch_attention(const Plan& plan, const Geometry& geometry, const Call& call,
                        gpu::Edge edge, cudaStream_t stream) {
  return Launch{plan, geometry, call, edge, stream}.by(
      instance_for(plan.attention, plan.tile_rows));
}

bool has_traced_variant(const Problem& problem) {
  return problem.q_type == DType::kBFloat16 && value_columns(problem) == kWideColumns;
}

Status launch_traced(const Plan& plan, const Geometry& geometry, const Call& call, gpu::Edge edge,
                     cudaStream_t stream) {
  const std::span<const Instance> instances = traced_instances(converts(plan.attention));
  return Launch{plan, geometry, call, edge, stream}.by(
      plan.tile_rows == kWarpRows ? instances.front() : instances.back());
}

}  // namespace seesaw::attention::sm80
