#include "profile/ncu.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>

#include "error.hpp"
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
    Metric{"shared memory a block, bytes", "launch__shared_mem_per_block_dynamic"},
    Metric{"warps active, % of most", "sm__warps_active.avg.pct_of_peak_sustained_active"},
    Metric{"blocks an SM, by registers", "launch__occupancy_limit_registers"},
    Metric{"blocks an SM, by shared memory", "launch__occupancy_limit_shared_mem"},
    Metric{"blocks an SM, by warps", "launch__occupancy_limit_warps"}};

constexpr std::array kPipes = {
    Metric{"integer and logic", "sm__inst_executed_pipe_alu.sum"},
    Metric{"floating point", "sm__inst_executed_pipe_fma.sum"},
    Metric{"half precision", "sm__inst_executed_pipe_fp16.sum"},
    Metric{"special functions", "sm__inst_executed_pipe_xu.sum"},
    Metric{"memory", "sm__inst_executed_pipe_lsu.sum"},
    Metric{"uniform", "sm__inst_executed_pipe_uniform.sum"},
    Metric{"control", "sm__inst_executed_pipe_cbu.sum"},
    Metric{"address divergence, barriers", "sm__inst_executed_pipe_adu.sum"},
    Metric{"tensor", "sm__inst_executed_pipe_tensor.sum"},
    Metric{"all", "sm__inst_executed.sum"}};

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

constexpr std::array<std::span<const Metric>, 5> kAll = {kUtilisation, kRates, kResources, kPipes,
                                                         kStalls};

using Row = std::vector<std::string>;

// The cells of one line; a quoted cell doubles the quotes inside it.
Row split_csv(std::string_view line) {
  Row cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      cells.emplace_back();
    } else if (line[i] != '\r') {
      cells.back() += line[i];
    }
  }
  return cells;
}

// A number as ncu writes it, "1,234.5"; nullopt for "n/a" and text.
std::optional<double> number_of(std::string text) {
  std::erase(text, ',');
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return text.empty() || *end != '\0' ? std::nullopt : std::optional(value);
}

// What one of ncu's units is in ours: microseconds, bytes, GHz.
double factor_of(std::string_view unit) {
  constexpr std::pair<std::string_view, double> kFactors[] = {{"nsecond", 1e-3},
                                                              {"ns", 1e-3},
                                                              {"usecond", 1},
                                                              {"us", 1},
                                                              {"msecond", 1e3},
                                                              {"ms", 1e3},
                                                              {"second", 1e6},
                                                              {"s", 1e6},
                                                              {"Kbyte", 1e3},
                                                              {"Mbyte", 1e6},
                                                              {"Gbyte", 1e9},
                                                              {"Kbyte/block", 1e3},
                                                              {"cycle/nsecond", 1},
                                                              {"cycle/usecond", 1e-3},
                                                              {"cycle/second", 1e-9},
                                                              {"hz", 1e-9},
                                                              {"Mhz", 1e-3},
                                                              {"MHz", 1e-3},
                                                              {"Ghz", 1},
                                                              {"GHz", 1}};
  for (const auto& [name, factor] : kFactors) {
    if (name == unit) {
      return factor;
    }
  }
  return 1;
}

size_t column_of(const Row& header, std::string_view name) {
  return static_cast<size_t>(std::find(header.begin(), header.end(), name) - header.begin());
}

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
std::vector<std::pair<std::string, double>> instruction_mix(const KernelMetrics& metrics) {
  auto mix = known(metrics, kPipes);
  const auto all =
      std::find_if(mix.begin(), mix.end(), [](const auto& item) { return item.first == "all"; });
  if (all == mix.end() || all->second <= 0) {
    return {};
  }
  const double total = all->second;
  mix.erase(all);
  for (auto& [label, value] : mix) {
    value = 100 * value / total;
  }
  return sorted(mix);
}

void add_section(Table* table, const char* section,
                 const std::vector<std::pair<std::string, double>>& rows) {
  for (const auto& [label, value] : rows) {
    table->add({section, label, shown(value)});
  }
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

std::vector<KernelMetrics> parse_ncu_csv(const std::string& text) {
  std::vector<Row> rows;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (line.starts_with('"')) {
      rows.push_back(split_csv(line));
    }
    begin = end + 1;
  }
  const auto header = std::find_if(rows.begin(), rows.end(), [](const Row& row) {
    return row[0] == "ID" && std::find(row.begin(), row.end(), "Kernel Name") != row.end();
  });
  if (header == rows.end() || rows.end() - header < 3) {
    throw Failure(ExitCode::kInternal,
                  "profile: ncu's output has no table of metrics, expected: a header that begins "
                  "with \"ID\", a line of units, a line a kernel. Run with --tool timeline.");
  }
  const Row& units = header[1];
  const size_t name = column_of(*header, "Kernel Name");
  std::vector<KernelMetrics> kernels;
  for (auto row = header + 2; row != rows.end(); ++row) {
    if (row->size() != header->size() || units.size() != header->size()) {
      continue;
    }
    KernelMetrics kernel{(*row)[name], {}};
    for (size_t i = name + 1; i < row->size(); ++i) {
      if (const std::optional<double> value = number_of((*row)[i])) {
        kernel.values[(*header)[i]] = *value * factor_of(units[i]);
      }
    }
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

std::string why_ncu_refused(const std::string& said) {
  if (said.find("ERR_NVGPUCTRPERM") != std::string::npos) {
    return "the driver lets only administrators read performance counters (ERR_NVGPUCTRPERM): run "
           "as root, or load the driver with NVreg_RestrictProfilingToAdminUsers=0";
  }
  const size_t error = said.find("==ERROR==");
  if (error != std::string::npos) {
    const size_t begin = error + std::string_view("==ERROR== ").size();
    return printable(said.substr(begin, said.find('\n', begin) - begin));
  }
  return "it ended without a result";
}

std::string ncu_text(const KernelMetrics& metrics) {
  Table table({"of", "what", "value"});
  add_section(&table, "utilisation, %", sorted(known(metrics, kUtilisation)));
  add_section(&table, "run", known(metrics, kRates));
  add_section(&table, "resources", known(metrics, kResources));
  add_section(&table, "instructions, %", instruction_mix(metrics));
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
  const auto by_registers = metrics.get("launch__occupancy_limit_registers");
  const auto by_shared = metrics.get("launch__occupancy_limit_shared_mem");
  if (by_registers && by_shared) {
    const char* limit = *by_shared < *by_registers   ? "Shared memory limits"
                        : *by_registers < *by_shared ? "Registers limit"
                                                     : "Registers and shared memory both limit";
    reading.push_back(fmt::format("{} the blocks of an SM to {:.0f}.", limit,
                                  std::min(*by_registers, *by_shared)));
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
  for (const auto& [label, value] : instruction_mix(metrics)) {
    json["instruction_mix_percent"][label] = value;
  }
  json["reading"] = ncu_reading(metrics);
  return json;
}

}  // namespace seesaw::tools
