#include "ladder/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

namespace seesaw::ladder {
namespace {

constexpr size_t kColumns = 7;
using Line = std::array<std::string, kColumns>;

double tera_flops(const Report& report, const RungResult& rung) {
  return report.work.flops / rung.microseconds * 1e-6;
}

double giga_bytes(const Report& report, const RungResult& rung) {
  return report.work.bytes / rung.microseconds * 1e-3;
}

Line line_of(const Report& report, const RungResult& rung, const RungResult* previous) {
  const std::string number = rung.number > 0 ? std::to_string(rung.number) : "cpu";
  if (!rung.error.empty()) {
    return {number, rung.idea, "-", "-", "-", "-", rung.error};
  }
  // The CPU row is no step of the climb: the rung before it ran on another machine.
  const std::string faster = previous != nullptr && rung.number > 0
                                 ? fmt::format("{:.2f}", previous->microseconds / rung.microseconds)
                                 : "-";
  const Deviation& deviation = rung.deviation;
  return {number,
          rung.idea,
          rung.runs > 0 ? fmt::format("{:.1f}", rung.microseconds) : "-",
          rung.runs > 0 ? fmt::format("{:.2f}", tera_flops(report, rung)) : "-",
          rung.runs > 0 ? fmt::format("{:.0f}", giga_bytes(report, rung)) : "-",
          rung.runs > 0 ? faster : "-",
          fmt::format("{:.3f}{}", deviation.max_error_over_bound, deviation.ok() ? "" : "  WRONG")};
}

nlohmann::json rung_json(const Report& report, const RungResult& rung) {
  nlohmann::json json = {{"rung", rung.number}, {"idea", rung.idea}};
  if (!rung.error.empty()) {
    json["error"] = rung.error;
    return json;
  }
  const double worst = rung.deviation.max_error_over_bound;
  json["rows_checked"] = rung.deviation.num_rows;
  json["max_error_over_bound"] =
      std::isfinite(worst) ? nlohmann::json(worst) : nlohmann::json("infinite");
  json["correct"] = rung.deviation.ok();
  if (rung.runs > 0) {
    json["microseconds_median"] = rung.microseconds;
    json["microseconds_fastest"] = rung.fastest_microseconds;
    json["runs"] = rung.runs;
    if (rung.number == 0) {
      json["method"] = "median over runs on the CPU, after one that is not counted";
    }
    json["tera_flops"] = tera_flops(report, rung);
    json["giga_bytes_per_second"] = giga_bytes(report, rung);
  }
  return json;
}

}  // namespace

std::string valid_utf8(const std::string& text) {
  const std::string quoted =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

std::string table_of(const Report& report) {
  std::vector<Line> lines = {
      {"rung", "idea", "us", "TFLOPS", "GB/s", "x previous", "max err / bound"}};
  const RungResult* previous = nullptr;
  for (const RungResult& rung : report.rungs) {
    lines.push_back(line_of(report, rung, previous));
    previous = rung.error.empty() && rung.number > 0 && rung.runs > 0 ? &rung : previous;
  }
  std::array<size_t, kColumns> widths = {};
  for (const Line& line : lines) {
    for (size_t c = 0; c + 1 < kColumns; ++c) {
      widths[c] = std::max(widths[c], line[c].size());
    }
  }
  std::string text;
  for (const Line& line : lines) {
    text += fmt::format("{:>{}}  {:<{}}", line[0], widths[0], line[1], widths[1]);
    for (size_t c = 2; c + 1 < kColumns; ++c) {
      text += fmt::format("  {:>{}}", line[c], widths[c]);
    }
    text += "  " + line[kColumns - 1] + "\n";
  }
  if (report.empty_microseconds > 0.0) {
    text +=
        fmt::format("an empty kernel, measured likewise: {:.1f} us\n", report.empty_microseconds);
  }
  return text;
}

std::string json_of(const Report& report, const std::string& commit, const std::string& command) {
  nlohmann::json json;
  json["benchmark"] = "ladder";
  json["commit"] = commit;
  json["command"] = command;
  json["device"] = report.device;
  json["problem"] = {{"operation", "dense_decode"},
                     {"batch", report.spec.seq_lens.size()},
                     {"s_q", 1},
                     {"h_q", report.spec.heads},
                     {"h_kv", 1},
                     {"d_qk", kQkColumns},
                     {"d_v", kValueColumns},
                     {"dtype", "bfloat16"},
                     {"page_size", kPageTokens},
                     {"seq_lens", report.spec.seq_lens},
                     {"scale", report.spec.scale},
                     {"seed", report.spec.seed},
                     {"flops", report.work.flops},
                     {"bytes", report.work.bytes}};
  const bool rungs_timed =
      std::any_of(report.rungs.begin(), report.rungs.end(),
                  [](const RungResult& rung) { return rung.number > 0 && rung.runs > 0; });
  if (rungs_timed) {
    json["method"] =
        "median over single graph replays, each after a 256 MB write that empties the L2 cache";
  }
  if (report.empty_microseconds > 0.0) {
    json["microseconds_of_an_empty_kernel"] = report.empty_microseconds;
  }
  for (const RungResult& rung : report.rungs) {
    json["rungs"].push_back(rung_json(report, rung));
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace seesaw::ladder
