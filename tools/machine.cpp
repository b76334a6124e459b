#include "machine.hpp"

#include <fmt/format.h>
#include <omp.h>
#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

namespace seesaw::tools {
namespace {

// The first line of /proc/cpuinfo whose key is one of `keys`.
std::string cpuinfo_value(std::initializer_list<const char*> keys) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) {
      continue;
    }
    const std::string key = line.substr(0, line.find_first_of("\t:"));
    for (const char* wanted : keys) {
      if (key == wanted && colon + 2 <= line.size()) {
        return line.substr(colon + 2);
      }
    }
  }
  return "";
}

std::vector<std::string> present_features() {
  constexpr std::array kWanted = {"avx2",     "fma",      "f16c",  "avx512f", "avx512_bf16",
                                  "amx_tile", "amx_bf16", "asimd", "bf16"};
  std::istringstream flags(cpuinfo_value({"flags", "Features"}));
  std::set<std::string> all;
  for (std::string flag; flags >> flag;) {
    all.insert(flag);
  }
  std::vector<std::string> present;
  std::copy_if(kWanted.begin(), kWanted.end(), std::back_inserter(present),
               [&](const char* name) { return all.count(name) > 0; });
  return present;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<CacheLevel> describe_caches() {
  std::vector<CacheLevel> caches;
  for (int i = 0; i < 8; ++i) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", i);
    const std::string level = first_line(folder + "level");
    const std::string type = first_line(folder + "type");
    const std::string size = first_line(folder + "size");  // "48K"
    if (level.empty() || type == "Instruction" || size.empty()) {
      continue;
    }
    const int64_t unit = size.back() == 'M' ? 1 << 20 : size.back() == 'K' ? 1 << 10 : 1;
    caches.push_back({fmt::format("L{}{}", level, type == "Data" ? "d" : ""),
                      std::strtoll(size.c_str(), nullptr, 10) * unit});
  }
  return caches;
}

std::string describe_os() {
  utsname name = {};
  uname(&name);
  std::string distribution = name.sysname;
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    const std::string key = "PRETTY_NAME=";
    if (line.rfind(key, 0) == 0) {
      distribution = line.substr(key.size());
      distribution.erase(std::remove(distribution.begin(), distribution.end(), '"'),
                         distribution.end());
    }
  }
  return fmt::format("{}, {} {} {}", distribution, name.sysname, name.release, name.machine);
}

// CPUs that the process was started with, asked for before any library's constructor: with
// OMP_PROC_BIND GCC's OpenMP binds the first thread to one in its own, and where another OpenMP is
// in the process too (clang's, beside the one that oneDNN brings) that one is all that it knows of.
int cpus_at_start = 0;

void count_cpus() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    cpus_at_start = CPU_COUNT(&allowed);
  }
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_constructors)() = count_cpus;

std::string describe_compiler() {
#if defined(__clang__)
  return fmt::format("clang {}", __clang_version__);
#else
  return fmt::format("g++ {}", __VERSION__);
#endif
}

}  // namespace

Machine describe_machine() {
  Machine machine;
  machine.cpu_model = cpuinfo_value({"model name", "CPU part", "cpu"});
  machine.cpu_features = present_features();
  machine.logical_cpus = cpus_at_start > 0 ? cpus_at_start : omp_get_num_procs();
  machine.caches = describe_caches();
  struct sysinfo info = {};
  if (sysinfo(&info) == 0) {
    machine.memory_bytes = uint64_t{info.totalram} * info.mem_unit;
  }
  machine.os = describe_os();
  machine.compiler = describe_compiler();
  return machine;
}

double load_average() {
  double minutes[1] = {};
  return getloadavg(minutes, 1) == 1 ? minutes[0] : 0;
}

uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    const std::string key = "MemAvailable:";
    if (line.rfind(key, 0) == 0) {
      return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
    }
  }
  return 0;
}

int64_t last_level_cache_bytes(const Machine& machine) {
  int64_t largest = 0;
  for (const CacheLevel& cache : machine.caches) {
    largest = std::max(largest, cache.size_bytes);
  }
  return largest > 0 ? largest : int64_t{32} << 20;
}

const char* build_commit() { return SEESAW_BUILD_COMMIT; }

std::string bytes_text(double size_bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (size_bytes >= 1024 && unit + 1 < kUnits.size()) {
    size_bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", size_bytes, unit == 0 ? 0 : 2, kUnits[unit]);
}

}  // namespace seesaw::tools
