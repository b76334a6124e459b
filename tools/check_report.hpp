// What `seesaw check` found, by kernel and element types.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "lab/errors.hpp"
#include "laboratory.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::tools {

struct CheckRow {
  int64_t cases = 0;
  int64_t failed = 0;
  ErrorStatistics errors;
};

struct CheckReport {
  std::map<std::pair<std::string, std::string>, CheckRow> rows;  // by kernel and dtypes
  std::vector<std::pair<std::string, std::string>> failures;     // case, and what is wrong
  std::map<std::string, int64_t> refused;                        // a kernel's reason -> cases
  int64_t cases = 0;

  // A case that a kernel ran.
  void add(const std::string& kernel, const std::string& dtypes, const std::string& name,
           const ErrorStatistics& errors);
};

// Of the answers to supports(): the kernels to run, the one wanted or all but the reference. What
// is refused goes to the report. wanted null: none in particular.
std::vector<std::string> kernels_to_check(const std::vector<KernelSupport>& answers,
                                          const std::string& operation, const char* wanted,
                                          CheckReport* report);

std::string report_text(const CheckReport& report);
nlohmann::ordered_json report_json(const CheckReport& report, const std::string& device);

}  // namespace seesaw::tools
