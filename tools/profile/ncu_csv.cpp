// Nsight Compute's CSV page of raw metrics, read.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "error.hpp"
#include "profile/ncu.hpp"

namespace seesaw::tools {
namespace {

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

// What ncu does not say itself. Needs what is asked for, and the attributes of the device that ncu
// lists with it.
void add_usage(KernelMetrics* kernel) {
  const auto warps_percent = kernel->get("sm__warps_active.avg.pct_of_peak_sustained_active");
  const auto threads = kernel->get("launch__block_size");
  const auto threads_an_sm = kernel->get("device__attribute_max_threads_per_multiprocessor");
  const auto registers_an_sm = kernel->get("device__attribute_max_registers_per_multiprocessor");
  const auto shared_an_sm = kernel->get("device__attribute_max_shared_memory_per_multiprocessor");
  if (!warps_percent || !threads || !threads_an_sm || *threads <= 0) {
    return;
  }
  const double active_threads = *warps_percent * *threads_an_sm;  // times 100
  if (const auto registers = kernel->get("launch__registers_per_thread_allocated");
      registers && registers_an_sm) {
    kernel->values[kRegistersUsedMetric] = *registers * active_threads / *registers_an_sm;
  }
  if (const auto shared = kernel->get("launch__shared_mem_per_block_allocated");
      shared && shared_an_sm) {
    kernel->values[kSharedMemoryUsedMetric] = *shared * active_threads / *threads / *shared_an_sm;
  }
}

size_t column_of(const Row& header, std::string_view name) {
  return static_cast<size_t>(std::find(header.begin(), header.end(), name) - header.begin());
}

}  // namespace

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
    add_usage(&kernel);
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

}  // namespace seesaw::tools
