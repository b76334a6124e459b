#include "compare/device_ceilings.hpp"

#include <nlohmann/json.hpp>

#include "error.hpp"
#include "machine.hpp"
#ifdef SEESAW_WITH_CUDA
#include "compare/device_ceilings_cuda.hpp"
#endif

namespace seesaw::tools {
namespace {

DeviceCeilings measure_cpu(int32_t threads) {
  const CpuRoofs roofs = measure_cpu_roofs(threads > 0 ? threads : describe_machine().logical_cpus);
  DeviceCeilings ceilings;
  ceilings.float32_gflops = roofs.float_fma_gflops_all;
  ceilings.bfloat16_gflops = roofs.bf16_dot_gflops_all;
  ceilings.read_gbps = roofs.read_gbps_all;
  ceilings.method = "multiply-adds and bf16 dot products in registers, a sum over memory; " +
                    std::to_string(roofs.threads) + " threads";
  return ceilings;
}

}  // namespace

DeviceCeilings measure_ceilings(Device& device, int32_t threads) {
  if (device.is_host()) {
    return measure_cpu(threads);
  }
#ifdef SEESAW_WITH_CUDA
  return measure_cuda_ceilings(device);
#else
  throw bad_input({"compare", "--device " + device_text(device.id()),
                   "this build measures ceilings of: cpu", "Build it with CUDA."});
#endif
}

nlohmann::ordered_json to_json(const DeviceCeilings& ceilings) {
  return {{"float32_gflops", ceilings.float32_gflops},
          {"bfloat16_gflops", ceilings.bfloat16_gflops},
          {"float16_gflops", ceilings.float16_gflops},
          {"read_gbps", ceilings.read_gbps},
          {"method", ceilings.method}};
}

Ceilings ceilings_of(const DeviceCeilings& ceilings, seesaw_dtype dtype, bool as_float32) {
  if (!as_float32 && dtype == SEESAW_BFLOAT16 && ceilings.bfloat16_gflops > 0) {
    return {ceilings.bfloat16_gflops, ceilings.read_gbps, "bf16 products"};
  }
  if (!as_float32 && dtype == SEESAW_FLOAT16 && ceilings.float16_gflops > 0) {
    return {ceilings.float16_gflops, ceilings.read_gbps, "fp16 products"};
  }
  return {ceilings.float32_gflops, ceilings.read_gbps, "float32 products"};
}

}  // namespace seesaw::tools
