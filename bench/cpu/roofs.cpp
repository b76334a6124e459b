// What this CPU can do at most, as JSON: lab/roofs on the given number of threads (all by default).
//   seesaw_cpu_roofs [threads]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "lab/roofs/cpu_roofs.hpp"

int main(int argc, char** argv) {
  const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = argc > 1 ? std::atoi(argv[1]) : all;
  if (threads < 1) {
    fmt::print(stderr, "seesaw_cpu_roofs: threads = {}, allowed: 1 or more. Leave it out for {}.\n",
               argv[1], all);
    return 2;
  }
  const seesaw::lab::CpuRoofs roofs = seesaw::lab::measure_cpu_roofs(threads);
  fmt::print(
      "{{\"threads\": {}, \"amx_registers_gflops\": {:.1f}, \"amx_first_cache_gflops\": {:.1f}, "
      "\"bf16_dot_gflops\": {:.1f}, \"float_fma_gflops\": {:.1f}, \"read_gbps\": {:.2f}}}\n",
      threads, roofs.amx_registers_gflops_all, roofs.amx_first_cache_gflops_all,
      roofs.bf16_dot_gflops_all, roofs.float_fma_gflops_all, roofs.read_gbps_all);
}
