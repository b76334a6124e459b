#include "prometheus.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace seesaw::tools {
namespace {

constexpr std::array<const char*, SEESAW_STATS_FUNCTIONS> kFunctions = {"plan", "prepare", "run"};

// Which rows have a metric: a number that the host cannot know is left out, not shown as 0.
enum class Rows { kKernels, kLengthsKnown };

struct Metric {
  const char* name;
  const char* type;
  const char* help;
  Rows rows;
  uint64_t seesaw_stats::*field;
};

constexpr Metric kMetrics[] = {
    {"seesaw_sequences_total", "counter", "Sequences of successful runs.", Rows::kKernels,
     &seesaw_stats::sequences},
    {"seesaw_tensor_bytes_total", "counter",
     "Bytes of the arguments of successful runs, the cache aside.", Rows::kKernels,
     &seesaw_stats::tensor_bytes},
    {"seesaw_kv_planned_bytes_total", "counter",
     "Cache bytes of successful runs if every sequence were as long as planned: an upper bound.",
     Rows::kKernels, &seesaw_stats::kv_bytes_planned},
    {"seesaw_kv_tokens_total", "counter",
     "Sum of seq_lens of successful runs, where they lie in host memory.", Rows::kLengthsKnown,
     &seesaw_stats::kv_tokens},
    {"seesaw_kv_bytes_total", "counter",
     "Cache bytes of these tokens, each once a sequence, where seq_lens lie in host memory.",
     Rows::kLengthsKnown, &seesaw_stats::kv_bytes},
    {"seesaw_schedule_pieces_total", "counter",
     "Pieces of work of successful schedules made in host memory.", Rows::kLengthsKnown,
     &seesaw_stats::pieces},
    {"seesaw_schedule_split_sequences_total", "counter",
     "Sequences of more than one piece in these schedules.", Rows::kLengthsKnown,
     &seesaw_stats::split_sequences},
    {"seesaw_schedule_partials_total", "counter",
     "Partial results that these schedules have combined.", Rows::kLengthsKnown,
     &seesaw_stats::partials},
    {"seesaw_plans", "gauge", "Plans made and not destroyed.", Rows::kKernels,
     &seesaw_stats::plans},
    {"seesaw_plan_workspace_bytes_max", "gauge", "Largest workspace that a plan asked for.",
     Rows::kKernels, &seesaw_stats::workspace_bytes},
};

bool has(const seesaw_stats& row, Rows rows) {
  return row.lengths_known != 0 ||
         (rows == Rows::kKernels && row.kernel != std::string_view("none"));
}

std::string head(const char* name, const char* type, const char* help) {
  return fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

std::string labels(const seesaw_stats& row) {
  return fmt::format("operation={},kernel={}", label_value(row.operation), label_value(row.kernel));
}

}  // namespace

std::string label_value(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c == '\n' ? "\\n" : c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  }
  return quoted + "\"";
}

std::string seconds_text(uint64_t nanoseconds) {
  constexpr uint64_t kASecond = 1'000'000'000;
  return fmt::format("{}.{:09}", nanoseconds / kASecond, nanoseconds % kASecond);
}

std::string prometheus_text(std::span<const seesaw_stats> rows) {
  std::string text =
      head("seesaw_build_info", "gauge", "Always 1; the label names the library's version.") +
      fmt::format("seesaw_build_info{{version={}}} 1\n", label_value(seesaw_version()));
  std::string seconds =
      head("seesaw_call_seconds_total", "counter",
           "Wall time inside these calls; on a GPU that is launching, not running.");
  text += head("seesaw_calls_total", "counter", "Calls that returned, by function and status.");
  for (const seesaw_stats& row : rows) {
    for (size_t function = 0; function < kFunctions.size(); ++function) {
      const std::string call =
          fmt::format("{},function={}", labels(row), label_value(kFunctions[function]));
      for (int status = SEESAW_OK; status <= SEESAW_INVALID_TYPE; ++status) {
        text += fmt::format("seesaw_calls_total{{{},status={}}} {}\n", call,
                            label_value(seesaw_status_name(static_cast<seesaw_status>(status))),
                            row.calls[function][status]);
      }
      seconds += fmt::format("seesaw_call_seconds_total{{{}}} {}\n", call,
                             seconds_text(row.nanoseconds[function]));
    }
  }
  text += seconds;
  for (const Metric& metric : kMetrics) {
    text += head(metric.name, metric.type, metric.help);
    for (const seesaw_stats& row : rows) {
      if (has(row, metric.rows)) {
        text += fmt::format("{}{{{}}} {}\n", metric.name, labels(row), row.*metric.field);
      }
    }
  }
  return text;
}

}  // namespace seesaw::tools
