// Nsight Compute for `seesaw profile`: which metrics to ask for, how to read its CSV, and what the
// numbers mean in words. Pure functions of text; the command runs the program.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace seesaw::tools {

// Arguments that make ncu write a CSV page of raw metrics to `log` for what `program` launches.
// The clock stays as it is, so that figures are near those of production.
std::vector<std::string> ncu_arguments(const std::string& ncu, const std::string& log,
                                       const std::vector<std::string>& program);

// One launch, with the metrics that ncu could read; units as in docs/profile.md.
struct KernelMetrics {
  std::string kernel;
  std::map<std::string, double> values;

  std::optional<double> get(std::string_view metric) const;
};

// Of an SM, on average over its busy time; not ncu's own, parse_ncu_csv makes them of its figures.
inline constexpr const char* kRegistersUsedMetric = "seesaw__registers_used.pct";
inline constexpr const char* kSharedMemoryUsedMetric = "seesaw__shared_memory_used.pct";

// Reads `ncu --csv --page raw`: lines of ncu's own (==PROF==) and of the program are skipped; times
// come in microseconds and sizes in bytes, whatever ncu's units were. Several launches of a kernel
// give several entries. Throws Failure if there is no table.
std::vector<KernelMetrics> parse_ncu_csv(const std::string& text);

// All launches of a call as one: sums are added, everything else is the mean by time. What belongs
// to one launch alone (its blocks, its registers a thread) is left out.
KernelMetrics whole_call(const std::vector<KernelMetrics>& launches);

// Why ncu gave nothing, in words, from what it said.
std::string why_ncu_refused(const std::string& said);

// How close each unit is to its limit, and what the rest suggests.
std::string ncu_text(const KernelMetrics& metrics);
std::vector<std::string> ncu_reading(const KernelMetrics& metrics);
nlohmann::ordered_json ncu_json(const KernelMetrics& metrics);

}  // namespace seesaw::tools
