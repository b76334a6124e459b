#include "roofs.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lab/cache_records.hpp"
#include "machine.hpp"

namespace seesaw::tools {

int roof_threads(int threads) { return std::min(threads, describe_machine().logical_cpus); }

nlohmann::ordered_json to_json(const CpuRoofs& roofs) {
  return {{"cpu_threads", roofs.threads},
          {"cpu_bf16_dot_gflops_1", roofs.bf16_dot_gflops_1},
          {"cpu_bf16_dot_gflops", roofs.bf16_dot_gflops_all},
          {"cpu_float_fma_gflops_1", roofs.float_fma_gflops_1},
          {"cpu_float_fma_gflops", roofs.float_fma_gflops_all},
          {"cpu_amx_registers_gflops_1", roofs.amx_registers_gflops_1},
          {"cpu_amx_registers_gflops", roofs.amx_registers_gflops_all},
          {"cpu_amx_first_cache_gflops_1", roofs.amx_first_cache_gflops_1},
          {"cpu_amx_first_cache_gflops", roofs.amx_first_cache_gflops_all},
          {"cpu_read_gbps", roofs.read_gbps_all}};
}

Roofs roofs_for(const CpuRoofs& roofs, const seesaw_dense_decode_problem& problem) {
  // Numbers of a quantised cache are multiplied as the query's are.
  const bool bf16 =
      problem.q_dtype == SEESAW_BFLOAT16 &&
      (problem.kv_format == SEESAW_FORMAT_BFLOAT16 || lab::is_quantised(problem.kv_format));
  if (bf16 && roofs.amx_first_cache_gflops_all > 0) {
    return {roofs.amx_first_cache_gflops_all, roofs.read_gbps_all,
            "AMX tiles from the first cache"};
  }
  // On some CPUs the dot product is the slower of the two (src/cpu/multiply_rates.hpp).
  if (bf16 && roofs.bf16_dot_gflops_all > roofs.float_fma_gflops_all) {
    return {roofs.bf16_dot_gflops_all, roofs.read_gbps_all, "bf16 dot product"};
  }
  return {roofs.float_fma_gflops_all, roofs.read_gbps_all, "float multiply-add"};
}

}  // namespace seesaw::tools
