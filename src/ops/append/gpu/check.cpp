#include "ops/append/gpu/check.hpp"

#include "gpu/check_data.hpp"
#include "gpu/device.hpp"

namespace seesaw::append::gpu {
namespace {

using seesaw::gpu::kNoFault;
using seesaw::gpu::read_back;

// Tells the offender of a tensor [t]: `tell` is bad_slot or bad_position.
Status tell_number(const Tensor& tensor, unsigned long long token, const Args& args,
                   Status (*tell)(const Args&, int64_t, int64_t), cudaStream_t stream) {
  const auto at = static_cast<int64_t>(token);
  int64_t number = 0;
  SEESAW_RETURN_IF_ERROR(read_back(static_cast<const int64_t*>(tensor.data) + at * tensor.stride[0],
                                   &number, sizeof(number), stream));
  return tell(args, at, number);
}

}  // namespace

Status check(const AppendParams& params, const Args& args, void* report, cudaStream_t stream) {
  SEESAW_RETURN_IF_ERROR(seesaw::gpu::refuse_while_capturing(stream));
  SEESAW_RETURN_IF_ERROR(seesaw::gpu::status_of(
      launch_check({params, static_cast<Faults*>(report)}, stream), kWhere, "launching a check"));
  Faults faults = {};
  SEESAW_RETURN_IF_ERROR(read_back(report, &faults, sizeof(faults), stream));
  if (faults.slot != kNoFault) {
    return tell_number(args.slot_mapping, faults.slot, args, bad_slot, stream);
  }
  if (faults.position != kNoFault) {
    return tell_number(args.positions, faults.position, args, bad_position, stream);
  }
  float scale = 0.0F;
  if (faults.scale != kNoFault) {
    const auto at = static_cast<int64_t>(faults.scale);
    const int64_t token = at / params.record.scales.count;
    const int64_t index = at % params.record.scales.count;
    SEESAW_RETURN_IF_ERROR(
        read_back(params.scales.given + token * params.scales.given_stride + index, &scale,
                  sizeof(scale), stream));
    return bad_scale(token, index, scale);
  }
  if (faults.kv_scale != kNoFault) {
    SEESAW_RETURN_IF_ERROR(read_back(params.scales.kv_scale, &scale, sizeof(scale), stream));
    return bad_kv_scale(scale);
  }
  return {};
}

}  // namespace seesaw::append::gpu
