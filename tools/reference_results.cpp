#include "reference_results.hpp"

#include <memory>

#include "numbers.hpp"

namespace seesaw::tools {
namespace {

std::vector<float> widened(const void* values, seesaw_dtype dtype, size_t count) {
  std::vector<float> result(count);
  for (size_t i = 0; i < count; ++i) {
    result[i] = load_element(values, dtype, i);
  }
  return result;
}

}  // namespace

Results results_of(Call& call, seesaw_dtype dtype) {
  const std::vector<std::byte> out = call.out();
  return {widened(out.data(), dtype, out.size() / size_of(dtype)), call.lse()};
}

Results reference_results(DenseDecodeDescriptor descriptor, HostTensors tensors) {
  const auto count =
      static_cast<size_t>(descriptor.batch * descriptor.s_q * descriptor.h_q * descriptor.d_qk);
  const std::vector<float> q = widened(tensors.q, descriptor.q_dtype, count);
  tensors.q = q.data();
  descriptor.device = kCpu;
  descriptor.q_dtype = SEESAW_FLOAT32;
  descriptor.kernel = kReference;
  const DenseDecode plan(descriptor);
  const std::unique_ptr<Device> cpu = open_device(kCpu);
  Call call(*cpu, descriptor, plan, tensors);
  call.schedule();
  call.run();
  return results_of(call, SEESAW_FLOAT32);
}

}  // namespace seesaw::tools
