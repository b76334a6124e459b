// What this machine is: for `info`, and for a benchmark's record of where it ran.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace seesaw::tools {

struct CacheLevel {
  std::string name;  // "L1d", "L2", "L3"
  int64_t size_bytes = 0;
};

struct Machine {
  std::string cpu_model;
  std::vector<std::string> cpu_features;  // of those that kernels ask for, the ones present
  int logical_cpus = 0;                   // that this process may use
  std::vector<CacheLevel> caches;         // of the first CPU
  uint64_t memory_bytes = 0;
  std::string os;
  std::string compiler;
};

Machine describe_machine();

// Processes that wanted a CPU over the last minute, on average: what disturbs a measurement.
double load_average();

// Memory that can be taken without swapping, as the kernel estimates it; 0 if unknown.
uint64_t available_memory_bytes();

// The largest cache, or 32 MiB if the system does not say.
int64_t last_level_cache_bytes(const Machine& machine);

// The commit this program was built from, "unknown" outside a repository.
const char* build_commit();

// "1.50 GiB".
std::string bytes_text(double size_bytes);

}  // namespace seesaw::tools
