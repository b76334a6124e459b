#include "compare/device_roofs.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "error.hpp"
#include "machine.hpp"

namespace seesaw::tools {
namespace {

DeviceRoofs measure_cpu(int32_t threads) {
  const CpuRoofs cpu =
      measure_cpu_roofs(roof_threads(threads > 0 ? threads : describe_machine().logical_cpus));
  DeviceRoofs roofs;
  roofs.float32_gflops = cpu.float_fma_gflops_all;
  roofs.bfloat16_gflops = std::max(cpu.bf16_dot_gflops_all, cpu.amx_first_cache_gflops_all);
  roofs.read_gbps = cpu.read_gbps_all;
  roofs.method = "multiply-adds and bf16 dot products in registers, a sum over memory; " +
                 std::to_string(cpu.threads) + " threads";
  return roofs;
}

}  // namespace

DeviceRoofs measure_roofs(Device& device, int32_t threads) {
  if (device.is_host()) {
    return measure_cpu(threads);
  }
#ifdef SEESAW_WITH_CUDA
  return measure_cuda_roofs(device);
#else
  throw bad_input({"compare", "--device " + device_text(device.id()),
                   "this build measures roofs of: cpu", "Build it with CUDA."});
#endif
}

nlohmann::ordered_json to_json(const DeviceRoofs& roofs) {
  return {{"float32_gflops", roofs.float32_gflops},
          {"bfloat16_gflops", roofs.bfloat16_gflops},
          {"float16_gflops", roofs.float16_gflops},
          {"read_gbps", roofs.read_gbps},
          {"method", roofs.method}};
}

Roofs roofs_of(const DeviceRoofs& roofs, seesaw_dtype dtype, bool as_float32) {
  if (!as_float32 && dtype == SEESAW_BFLOAT16 && roofs.bfloat16_gflops > 0) {
    return {roofs.bfloat16_gflops, roofs.read_gbps, "bf16 products"};
  }
  if (!as_float32 && dtype == SEESAW_FLOAT16 && roofs.float16_gflops > 0) {
    return {roofs.float16_gflops, roofs.read_gbps, "fp16 products"};
  }
  return {roofs.float32_gflops, roofs.read_gbps, "float32 products"};
}

}  // namespace seesaw::tools
