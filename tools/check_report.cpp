#include "check_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "reference_results.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

nlohmann::ordered_json distribution_json(const Distribution& distribution) {
  return {{"p50", distribution.percentile(0.5)},
          {"p99", distribution.percentile(0.99)},
          {"p999", distribution.percentile(0.999)},
          {"max", distribution.max()}};
}

}  // namespace

void CheckReport::add(const std::string& kernel, const std::string& dtypes, const std::string& name,
                      const ErrorStatistics& errors) {
  CheckRow& row = rows[{kernel, dtypes}];
  ++row.cases;
  row.errors.merge(errors);
  if (!errors.ok()) {
    ++row.failed;
    failures.emplace_back(kernel + " " + name, errors.worst);
  }
}

std::vector<std::string> kernels_to_check(const std::vector<KernelSupport>& answers,
                                          const std::string& operation, const char* wanted,
                                          CheckReport* report) {
  std::vector<std::string> kernels;
  for (const KernelSupport& answer : answers) {
    const bool asked_for =
        wanted == nullptr ? answer.kernel != reference_kernel(operation) : answer.kernel == wanted;
    if (asked_for && answer.supported) {
      kernels.push_back(answer.kernel);
    } else if (asked_for) {
      ++report->refused[answer.kernel + ": " + answer.reason];
    }
  }
  return kernels;
}

std::string report_text(const CheckReport& report) {
  Table table({"kernel", "q/kv", "cases", "failed", "|err| p50", "p99", "p99.9", "max",
               "of bound p50", "p99", "p99.9", "max", "lse max", "cosine"});
  for (const auto& [key, row] : report.rows) {
    const Distribution& error = row.errors.out_error;
    const Distribution& ratio = row.errors.out_of_bound;
    table.add({key.first, key.second, std::to_string(row.cases), std::to_string(row.failed),
               fmt::format("{:.1e}", error.percentile(0.5)),
               fmt::format("{:.1e}", error.percentile(0.99)),
               fmt::format("{:.1e}", error.percentile(0.999)), fmt::format("{:.1e}", error.max()),
               fmt::format("{:.3f}", ratio.percentile(0.5)),
               fmt::format("{:.3f}", ratio.percentile(0.99)),
               fmt::format("{:.3f}", ratio.percentile(0.999)), fmt::format("{:.3f}", ratio.max()),
               fmt::format("{:.3f}", row.errors.lse_of_bound.max()),
               fmt::format("{:.1e}", row.errors.cosine)});
  }
  std::string text = table.text();
  text +=
      "|err| = |out - reference|; of bound = |err| / what the contract allows that element, above "
      "1 "
      "fails; lse\nlikewise; a second run must give the same bits. Cases of the suite's values "
      "pass "
      "the check of FlashMLA's\nsuite too, cosine distance included.\n";
  for (const auto& [reason, cases] : report.refused) {
    text += fmt::format("not run: {} cases, {}\n", cases, reason);
  }
  for (const auto& [name, what] : report.failures) {
    text += fmt::format("FAILED {}: {}\n", name, what);
  }
  return text;
}

nlohmann::ordered_json report_json(const CheckReport& report, const std::string& device) {
  nlohmann::ordered_json json = {{"device", device}, {"cases", report.cases}};
  json["results"] = nlohmann::ordered_json::array();
  for (const auto& [key, row] : report.rows) {
    json["results"].push_back({{"kernel", key.first},
                               {"dtypes", key.second},
                               {"cases", row.cases},
                               {"failed", row.failed},
                               {"elements", row.errors.out_error.count()},
                               {"out_error", distribution_json(row.errors.out_error)},
                               {"out_of_bound", distribution_json(row.errors.out_of_bound)},
                               {"lse_of_bound", distribution_json(row.errors.lse_of_bound)},
                               {"cosine", row.errors.cosine}});
  }
  json["failures"] = nlohmann::ordered_json::array();
  for (const auto& [name, what] : report.failures) {
    json["failures"].push_back({{"case", name}, {"what", what}});
  }
  json["refused"] = report.refused;
  return json;
}

}  // namespace seesaw::tools
