#include "reference_results.hpp"

#include <memory>

#include "fields.hpp"
#include "lab/elements.hpp"

namespace seesaw::tools {

const char* reference_kernel(const std::string& operation) {
  return keep("reference." + operation);
}

std::vector<float> widened(const void* values, int32_t dtype, size_t count) {
  std::vector<float> result(count);
  for (size_t i = 0; i < count; ++i) {
    result[i] = load_element(values, dtype, i);
  }
  return result;
}

Results results_of(Call& call, int32_t dtype) {
  const std::vector<std::byte> out = call.out();
  return {widened(out.data(), dtype, out.size() / size_of(dtype)), call.lse()};
}

Results reference_results(seesaw_dense_decode_problem problem, seesaw_dense_decode_args inputs) {
  std::vector<float> q = widened(inputs.q.data, inputs.q.dtype, element_count(inputs.q));
  inputs.q.data = q.data();
  inputs.q.dtype = SEESAW_FLOAT32;
  problem.q_dtype = SEESAW_FLOAT32;
  const DenseDecode plan(problem, {.kernel = reference_kernel(DenseDecodeOperation::kName)});
  const std::unique_ptr<Device> cpu = open_device(kCpu);
  Call call(*cpu, plan, problem.d_v, inputs);
  call.prepare();
  call.run();
  return results_of(call, SEESAW_FLOAT32);
}

}  // namespace seesaw::tools
