#include "profile/ncu.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>

#include "table.hpp"

namespace seesaw::tools {
namespace {

// What is asked for and how it is called in the table. Percentages are of the peak that can be
// sustained. Several names for a thing: GPU generations differ, and ncu leaves out what it does not
// know.
struct Metric {
  const char* label;
  const char* name;
};

constexpr std::array kUtilisation = {
    Metric{"tensor cores", "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"},
    Metric{"tensor cores",
           "sm__pipe_tensor_op_hmma_cycles_active.avg.pct_of_peak_sustained_elapsed"},
    Metric{"CUDA cores, FMA", "sm__pipe_fma_cycles_active.avg.pct_of_peak_sustained_elapsed"},
    Metric{"CUDA cores, FMA", "sm__inst_executed_pipe_fma.avg.pct_of_peak_sustained_active"},
    Metric{"CUDA cores, ALU", "sm__pipe_alu_cycles_active.avg.pct_of_peak_sustained_elapsed"},
    Metric{"CUDA cores, ALU", "sm__inst_executed_pipe_alu.avg.pct_of_peak_sustained_active"},
    Metric{"special functions", "sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_active"},
    Metric{"issue slots", "sm__inst_issued.avg.pct_of_peak_sustained_elapsed"},
    Metric{"shared memory",
           "l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed"},
    Metric{"L1", "l1tex__throughput.avg.pct_of_peak_sustained_elapsed"},
    Metric{"L2", "lts__throughput.avg.pct_of_peak_sustained_elapsed"},
    Metric{"DRAM", "dram__throughput.avg.pct_of_peak_sustained_elapsed"}};

constexpr std::array kRates = {Metric{"time, us", "gpu__time_duration.sum"},
                               Metric{"SM clock, GHz", "sm__cycles_elapsed.avg.per_second"},
                               Metric{"DRAM read, bytes", "dram__bytes_read.sum"},
                               Metric{"DRAM written, bytes", "dram__bytes_write.sum"},
                               Metric{"L1 hits, %", "l1tex__t_sector_hit_rate.pct"},
                               Metric{"L2 hits, %", "lts__t_sector_hit_rate.pct"}};

constexpr std::array kResources = {
    Metric{"registers a thread", "launch__registers_per_thread"},
    Metric{"threads a block", "launch__block_size"},
    Metric{"blocks", "launch__grid_size"},
    Metric{"shared memory a block, bytes", "launch__shared_mem_per_block"},
    Metric{"warps active, % of most", "sm__warps_active.avg.pct_of_peak_sustained_active"},
    Metric{"blocks an SM, by registers", "launch__occupancy_limit_registers"},
    Metric{"blocks an SM, by shared memory", "launch__occupancy_limit_shared_mem"},
    Metric{"blocks an SM, by warps", "launch__occupancy_limit_warps"},
    Metric{"blocks an SM, of any kernel", "launch__occupancy_limit_blocks"},
    Metric{"registers used, %", kRegistersUsedMetric},
    Metric{"shared memory used, %", kSharedMemoryUsedMetric}};

constexpr std::array kPipes = {
    Metric{"integer and logic", "sm__inst_executed_pipe_alu.sum"},
    Metric{"floating point", "sm__inst_executed_pipe_fma.sum"},
    Metric{"half precision", "sm__inst_executed_pipe_fp16.sum"},
    Metric{"special functions", "sm__inst_executed_pipe_xu.sum"},
    Metric{"memory", "sm__inst_executed_pipe_lsu.sum"},
    Metric{"uniform", "sm__inst_executed_pipe_uniform.sum"},
    Metric{"control", "sm__inst_executed_pipe_cbu.sum"},
    Metric{"address divergence, barriers", "sm__inst_executed_pipe_adu.sum"},
    Metric{"tensor", "sm__inst_executed_pipe_tensor.sum"}};

constexpr const char* kAllInstructions = "sm__inst_executed.sum";
constexpr std::array kTotals = {Metric{"instructions", kAllInstructions}};

// What the instructions do, counted by thread; a warp's barriers and votes are in none but "other".
#define SEESAW_OPERATION(kind) "smsp__sass_thread_inst_executed_op_" kind "_pred_on.sum"
constexpr std::array kOperations = {
    Metric{"floating point", SEESAW_OPERATION("fp32")},
    Metric{"half precision", SEESAW_OPERATION("fp16")},
    Metric{"double precision", SEESAW_OPERATION("fp64")},
    Metric{"memory", SEESAW_OPERATION("memory")},
    Metric{"integer", SEESAW_OPERATION("integer")},
    Metric{"logic", SEESAW_OPERATION("bit")},
    Metric{"conversion", SEESAW_OPERATION("conversion")},
    Metric{"control", SEESAW_OPERATION("control")},
    Metric{"between threads", SEESAW_OPERATION("inter_thread_communication")},
    Metric{"other", SEESAW_OPERATION("misc")}};
#undef SEESAW_OPERATION

#define SEESAW_STALL(reason) "smsp__average_warps_issue_stalled_" reason "_per_issue_active.ratio"
constexpr std::array kStalls = {
    Metric{"memory (long scoreboard)", SEESAW_STALL("long_scoreboard")},
    Metric{"shared memory, special functions (short scoreboard)", SEESAW_STALL("short_scoreboard")},
    Metric{"barrier", SEESAW_STALL("barrier")},
    Metric{"fixed latency (wait)", SEESAW_STALL("wait")},
    Metric{"busy arithmetic pipe", SEESAW_STALL("math_pipe_throttle")},
    Metric{"busy shared-memory queue (MIO)", SEESAW_STALL("mio_throttle")},
    Metric{"busy load-store queue", SEESAW_STALL("lg_throttle")},
    Metric{"tensor product (GMMA)", SEESAW_STALL("gmma")},
    Metric{"sleeping", SEESAW_STALL("sleeping")},
    Metric{"memory fence", SEESAW_STALL("membar")},
    Metric{"branch", SEESAW_STALL("branch_resolving")},
    Metric{"dispatch", SEESAW_STALL("dispatch_stall")},
    Metric{"no instruction fetched", SEESAW_STALL("no_instruction")},
    Metric{"ready, another warp was chosen", SEESAW_STALL("not_selected")}};
#undef SEESAW_STALL

constexpr std::array<std::span<const Metric>, 7> kAll = {
    kUtilisation, kRates, kResources, kPipes, kTotals, kOperations, kStalls};

std::string shown(double value) {
  return value >= 1000 ? fmt::format("{:.0f}", value) : fmt::format("{:.2f}", value);
}

// Label and value of those that could be read; of several names for one label, the first.
std::vector<std::pair<std::string, double>> known(const KernelMetrics& metrics,
                                                  std::span<const Metric> wanted) {
  std::vector<std::pair<std::string, double>> found;
  for (const Metric& metric : wanted) {
    const std::optional<double> value = metrics.get(metric.name);
    if (value && (found.empty() || found.back().first != metric.label)) {
      found.emplace_back(metric.label, *value);
    }
  }
  return found;
}

std::vector<std::pair<std::string, double>> sorted(
    std::vector<std::pair<std::string, double>> list) {
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return list;
}

// Shares of the instructions by pipe, the largest first.
std::vector<std::pair<std::string, double>> pipe_mix(const KernelMetrics& metrics) {
  auto mix = known(metrics, kPipes);
  const std::optional<double> all = metrics.get(kAllInstructions);
  if (!all || *all <= 0) {
    return {};
  }
  for (auto& [label, value] : mix) {
    value = 100 * value / *all;
  }
  return sorted(mix);
}

// Shares of the instructions by what they do, the largest first.
std::vector<std::pair<std::string, double>> operation_mix(const KernelMetrics& metrics) {
  auto mix = known(metrics, kOperations);
  double all = 0;
  for (const auto& [label, value] : mix) {
    all += value;
  }
  if (all <= 0) {
    return {};
  }
  for (auto& [label, value] : mix) {
    value = 100 * value / all;
  }
  return sorted(mix);
}

void add_section(Table* table, const char* section,
                 const std::vector<std::pair<std::string, double>>& rows) {
  for (const auto& [label, value] : rows) {
    table->add({section, label, shown(value)});
  }
}

// What keeps more blocks from an SM, in a sentence; empty where ncu did not read those of
// registers and shared memory, which are mostly the smallest.
std::string block_limit(const KernelMetrics& metrics) {
  constexpr std::array kLimits = {Metric{"registers", "launch__occupancy_limit_registers"},
                                  Metric{"shared memory", "launch__occupancy_limit_shared_mem"},
                                  Metric{"warps", "launch__occupancy_limit_warps"},
                                  Metric{"what any SM holds", "launch__occupancy_limit_blocks"}};
  const auto limits = known(metrics, kLimits);
  if (limits.size() < 2 || limits[0].first != kLimits[0].label ||
      limits[1].first != kLimits[1].label) {
    return "";
  }
  const double least =
      std::min_element(limits.begin(), limits.end(), [](const auto& a, const auto& b) {
        return a.second < b.second;
      })->second;
  std::string names;
  for (const auto& [name, blocks] : limits) {
    if (blocks == least) {
      names.append(names.empty() ? "" : " and ").append(name);
    }
  }
  return fmt::format("The blocks of an SM are limited to {:.0f} by {}.", least, names);
}

std::string advice_for(const std::string& unit) {
  if (unit.starts_with("tensor")) {
    return "The multiplier is the limit: what is left is its efficiency and the clock.";
  }
  if (unit == "DRAM") {
    return "Reading the cache is the limit: only fewer bytes (another cache format, more query "
           "rows a token) make it faster.";
  }
  if (unit == "L2" || unit == "L1" || unit == "shared memory") {
    return "Bytes inside the chip are the limit: larger tiles or operands kept in registers move "
           "fewer.";
  }
  return "Instructions are the limit: look at the instruction mix for what is not a product.";
}

}  // namespace

std::optional<double> KernelMetrics::get(std::string_view metric) const {
  const auto found = values.find(std::string(metric));
  return found == values.end() ? std::nullopt : std::optional(found->second);
}

KernelMetrics whole_call(const std::vector<KernelMetrics>& launches) {
  constexpr const char* kTime = "gpu__time_duration.sum";
  KernelMetrics whole{"all kernels of the call", {}};
  std::map<std::string, double> weights;
  for (const KernelMetrics& launch : launches) {
    const double us = launch.get(kTime).value_or(0);
    for (const auto& [name, value] : launch.values) {
      if (name.ends_with(".sum")) {
        whole.values[name] += value;
      } else if (!name.starts_with("launch__") && !name.starts_with("device__")) {
        whole.values[name] += value * us;
        weights[name] += us;
      }
    }
  }
  for (const auto& [name, weight] : weights) {
    whole.values[name] = weight > 0 ? whole.values[name] / weight : 0;
  }
  return whole;
}

std::vector<std::string> ncu_arguments(const std::string& ncu, const std::string& log,
                                       const std::vector<std::string>& program) {
  std::string metrics;
  for (const std::span<const Metric> group : kAll) {
    for (const Metric& metric : group) {
      metrics.append(metrics.empty() ? "" : ",").append(metric.name);
    }
  }
  std::vector<std::string> arguments = {
      ncu,          "--csv", "--page",          "raw",  "--print-units", "base",
      "--log-file", log,     "--clock-control", "none", "--metrics",     metrics};
  arguments.insert(arguments.end(), program.begin(), program.end());
  return arguments;
}

std::string ncu_text(const KernelMetrics& metrics) {
  Table table({"of", "what", "value"});
  add_section(&table, "utilisation, %", sorted(known(metrics, kUtilisation)));
  add_section(&table, "run", known(metrics, kRates));
  add_section(&table, "resources", known(metrics, kResources));
  add_section(&table, "instructions by pipe, %", pipe_mix(metrics));
  add_section(&table, "instructions by purpose, %", operation_mix(metrics));
  auto stalls = sorted(known(metrics, kStalls));
  stalls.resize(std::min<size_t>(stalls.size(), 6));  // the rest is noise
  add_section(&table, "warps waiting an issue", stalls);
  return table.text();
}

std::vector<std::string> ncu_reading(const KernelMetrics& metrics) {
  std::vector<std::string> reading;
  const auto units = sorted(known(metrics, kUtilisation));
  if (units.empty()) {
    return {"ncu read none of the metrics asked for."};
  }
  const auto& [unit, share] = units.front();
  reading.push_back(fmt::format("Nearest to its limit: {} at {:.0f} %.", unit, share));
  if (share >= 60) {
    reading.push_back(advice_for(unit));
  } else {
    reading.push_back(
        "Nothing is near its limit: the time goes into waiting (latency) or uneven load.");
  }
  const auto stalls = sorted(known(metrics, kStalls));
  if (!stalls.empty()) {
    reading.push_back(fmt::format("A warp waits mostly for: {} ({:.1f} warps for each issued).",
                                  stalls.front().first, stalls.front().second));
  }
  if (const std::string limit = block_limit(metrics); !limit.empty()) {
    reading.push_back(limit);
  }
  const auto bytes = metrics.get("dram__bytes_read.sum");
  const auto us = metrics.get("gpu__time_duration.sum");
  if (bytes && us && *us > 0) {
    reading.push_back(fmt::format("DRAM was read at {:.0f} GB/s.", *bytes / *us * 1e-3));
  }
  return reading;
}

nlohmann::ordered_json ncu_json(const KernelMetrics& metrics) {
  nlohmann::ordered_json json = {{"kernel", metrics.kernel}};
  for (const std::span<const Metric> group : kAll) {
    for (const Metric& metric : group) {
      if (const std::optional<double> value = metrics.get(metric.name)) {
        json["metrics"][metric.name] = *value;
      }
    }
  }
  for (const auto& [label, value] : pipe_mix(metrics)) {
    json["instruction_mix_percent"][label] = value;
  }
  for (const auto& [label, value] : operation_mix(metrics)) {
    json["operation_mix_percent"][label] = value;
  }
  json["reading"] = ncu_reading(metrics);
  return json;
}

}  // namespace seesaw::tools
