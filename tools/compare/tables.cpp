// The report's tables.
#include <fmt/format.h>

#include <cmath>

#include "compare/report.hpp"
#include "numbers.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

constexpr const char* kNone = "-";

std::string fixed(double value, int digits) { return fmt::format("{:.{}f}", value, digits); }
// Of a speed-up, where there is one.
std::string fixed(const std::optional<Spread>& spread, double Spread::*part) {
  return spread ? fixed(*spread.*part, 2) : kNone;
}
std::string megabytes(uint64_t size_bytes) {
  return fixed(static_cast<double>(size_bytes) / 1e6, 2);
}
std::string error_text(const MeasuredError& error, double value) {
  return error.why_not.empty() ? fmt::format("{:.2e}", value) : kNone;
}

std::string systems_text(const std::vector<Row>& rows) {
  Table table({"setting", "system", "ms", "p10", "p90", "speed-up", "p10", "p90", "GFLOP/s", "GB/s",
               "of roof", "cache B/token", "peak MB", "with"});
  for (const Row& row : rows) {
    const std::string cache = std::to_string(row.prediction.cache_bytes_per_token);
    std::vector<std::string> cells = {row.setting.text(), row.contender.text()};
    if (row.measured()) {
      cells.insert(
          cells.end(),
          {fixed(row.us.median / 1e3, 3), fixed(row.us.p10 / 1e3, 3), fixed(row.us.p90 / 1e3, 3),
           fixed(row.speed_up, &Spread::median), fixed(row.speed_up, &Spread::p10),
           fixed(row.speed_up, &Spread::p90), fixed(row.gflops(), 1), fixed(row.gbps(), 1),
           fixed(row.fraction(), 3), cache, row.peak_bytes > 0 ? megabytes(row.peak_bytes) : kNone,
           row.backend + (row.converted_products > 0 ? ", through float32" : "")});
    } else {
      cells.insert(cells.end(), 9, kNone);
      cells.insert(cells.end(), {cache, kNone, "not run: " + row.why_not});
    }
    table.add(cells);
  }
  return table.text();
}

std::string precision_text(const std::vector<PrecisionRow>& rows) {
  Table table({"system", "dtype", "relative", "largest", "through float32"});
  for (const auto& [setting, contender, result] : rows) {
    table.add({contender.text(), short_name(setting.dtype),
               error_text(result, result.error.relative), error_text(result, result.error.largest),
               result.why_not.empty() ? std::to_string(result.converted_products)
                                      : "not run: " + result.why_not});
  }
  return table.text();
}

std::string tradeoff_text(const Tradeoff& tradeoff) {
  Table table({"form", "cache less", "weight error", "error fp32", "bf16", "fp16", "own fp32",
               "prefill ms", "speed-up", "decode ms", "speed-up"});
  for (const TradeoffPoint& point : tradeoff.points) {
    std::vector<std::string> cells = {point.contender.text(), fixed(point.compression, 2),
                                      fmt::format("{:.2e}", point.weight_error)};
    for (const MeasuredError& error : point.errors) {
      cells.push_back(error_text(error, error.error.relative));
    }
    cells.push_back(error_text(point.own_errors[0], point.own_errors[0].error.relative));
    for (const Row* row : {&point.prefill, &point.decode}) {
      cells.push_back(row->measured() ? fixed(row->us.median / 1e3, 3) : kNone);
      cells.push_back(fixed(row->speed_up, &Spread::median));
    }
    table.add(cells);
  }
  return table.text();
}

std::string roofs_text(const DeviceRoofs& c) {
  const auto rate = [](double gflops) {
    return gflops > 0 ? fixed(gflops, 1) + " GFLOP/s" : "not there";
  };
  return fmt::format("float32 {}, bf16 {}, fp16 {}, read {:.1f} GB/s ({})", rate(c.float32_gflops),
                     rate(c.bfloat16_gflops), rate(c.float16_gflops), c.read_gbps, c.method);
}

}  // namespace

std::string compare_text(const CompareReport& report) {
  std::vector<Row> all = report.rows;
  all.insert(all.end(), report.claim_rows.begin(), report.claim_rows.end());
  std::string text = fmt::format(
      "{} ({}), commit {}, {}\nroofs: {}\n{}\nTime of every system\n{}Medians; speed-up over "
      "multi-head attention, of the rounds' own ratios; peak: {}.\n",
      report.device_name, report.device, build_commit(), report.date, roofs_text(report.roofs),
      report.left_out.empty()
          ? ""
          : fmt::format("Stopped early; not measured: {}\n", fmt::join(report.left_out, "; ")),
      systems_text(all), report.memory_method);
  if (!report.precision.empty()) {
    text += "\nError against double\n" + precision_text(report.precision);
  }
  if (report.tradeoff) {
    const Tradeoff& t = *report.tradeoff;
    text += fmt::format(
        "\nCompression against error and speed\n{}Fits of one layer of {} x {} heads, d_model {} "
        "({}{}{}); {} tokens for errors, {} keys for times.\n",
        tradeoff_text(t), t.heads, t.head_dim, t.d_model, t.source,
        t.left_out.empty() ? "" : "; left out: ", t.left_out, t.check_tokens, t.len);
  }
  return text +
         "\nIn words, with figures and the study notes' claims: --json=FILE, then "
         "python -m seesaw.report FILE -o report.html\n";
}

}  // namespace seesaw::tools
