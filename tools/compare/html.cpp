// The report as one page that fetches nothing: tables, and plots as inline SVG.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compare/report.hpp"
#include "compare/svg.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; margin: 2rem auto;
  max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
.facts { color: #555; } .note { color: #555; max-width: 60rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
th { text-align: left; border-bottom: 2px solid #999; padding: 0.25rem 0.6rem; white-space: nowrap;
  position: sticky; top: 0; background: #fff; }
td { border-bottom: 1px solid #e8e8e8; padding: 0.2rem 0.6rem; white-space: nowrap; }
td.n { text-align: right; } td.wrap { white-space: normal; min-width: 22rem; }
#claims td { white-space: normal; } #claims td:first-child { white-space: nowrap; }
#claims td:nth-child(3) { text-align: left; }
tr.first td { border-top: 2px solid #bbb; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(36rem, 1fr)); gap: 1.5rem; }
svg { width: 100%; height: auto; max-width: 50rem; font-family: system-ui, sans-serif; }
svg .title { font-size: 15px; font-weight: 600; fill: #1c1c1c; }
svg .label { font-size: 12.5px; fill: #444; } svg .value { font-size: 12.5px; fill: #1c1c1c; }
@media (max-width: 40rem) { .plots { grid-template-columns: 1fr; } }
)";

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.+-e") == std::string::npos;
}

std::string table_html(const Section& section) {
  constexpr size_t kLongCell = 60;
  std::string html = "<div class=\"table\"><table>\n<thead><tr>";
  for (const std::string& name : section.header) {
    html += fmt::format("<th>{}</th>", escaped(name));
  }
  html += "</tr></thead>\n<tbody>\n";
  std::string previous;
  for (const std::vector<std::string>& row : section.rows) {
    html += row[0] != previous && section.header[0] == "setting" ? "<tr class=\"first\">" : "<tr>";
    previous = row[0];
    for (const std::string& cell : row) {
      const char* style = is_number(cell)           ? " class=\"n\""
                          : cell.size() > kLongCell ? " class=\"wrap\""
                                                    : "";
      html += fmt::format("<td{}>{}</td>", style, escaped(cell));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

size_t colour_of(System system) { return static_cast<size_t>(system); }

std::string time_plots(const std::vector<Row>& rows) {
  std::string html;
  for (const Group& group : groups_of(rows)) {
    BarPlot plot{rows[group.begin].setting.text(), "ms", {}};
    for (size_t i = group.begin; i < group.end; ++i) {
      const Row& row = rows[i];
      if (row.measured()) {
        plot.bars.push_back(
            {row.contender.text(), row.us.median / 1e3,
             fmt::format("{:.3g} ms", row.us.median / 1e3) +
                 (row.speed_up ? fmt::format(", {:.2f}x", row.speed_up->median) : ""),
             row.us.p10 / 1e3, row.us.p90 / 1e3, colour_of(row.contender.system)});
      }
    }
    html += svg(plot);
  }
  return html;
}

std::string fraction_plot(const std::vector<Row>& rows) {
  DotPlot plot{"Fraction of the ceiling (1: nothing could be faster from memory)",
               "bound / time",
               {},
               {},
               Scale::kLinear};
  const System systems[] = {System::kMha,      System::kTraditional, System::kChunked,
                            System::kExpanded, System::kAbsorbed,    System::kDenseDecode};
  for (const System system : systems) {
    plot.series.emplace_back(title_of(system));
  }
  for (const Group& group : groups_of(rows)) {
    DotRow dots{rows[group.begin].setting.text(), std::vector<double>(plot.series.size(), 0)};
    for (size_t i = group.begin; i < group.end; ++i) {
      if (rows[i].measured()) {
        double& best = dots.values[colour_of(rows[i].contender.system)];
        best = std::max(best, rows[i].fraction());
      }
    }
    plot.rows.push_back(dots);
  }
  return svg(plot);
}

std::string theory_plot(const std::vector<Row>& rows) {
  DotPlot plot{"Speed-up of traditional MLA over multi-head attention",
               "times",
               {"notes, ideal", "notes, overheads", "counted operations", "measured"},
               {}};
  for (const Group& group : groups_of(rows)) {
    const Row& base = rows[group.begin];
    for (size_t i = group.begin; i < group.end; ++i) {
      const Row& row = rows[i];
      if (row.contender.system != System::kTraditional || !row.speed_up ||
          row.setting.phase != Phase::kPrefill) {
        continue;
      }
      const Setting& s = row.setting;
      const NotesModel model = notes_model(shape_of(row));
      plot.rows.push_back(
          {fmt::format("b {} len {} heads {}x{} {}, D' {}", s.batch, s.len, s.heads, s.head_dim,
                       short_name(s.dtype), row.contender.latent),
           {model.ideal_speed_up(), model.speed_up(),
            base.prediction.operations / row.prediction.operations, row.speed_up->median}});
    }
  }
  return plot.rows.empty() ? "" : svg(plot);
}

std::string memory_plot(const std::vector<Row>& rows) {
  DotPlot plot{"Memory of a call beside weights and cache",
               "MB",
               {"predicted intermediates", "plan's workspace", "measured peak"},
               {}};
  for (const Group& group : groups_of(rows)) {
    if (rows[group.begin].setting.phase != Phase::kPrefill) {
      continue;
    }
    for (size_t i = group.begin; i < group.end; ++i) {
      const Row& row = rows[i];
      if (row.measured()) {
        plot.rows.push_back({fmt::format("{}, len {} {}", title_of(row.contender.system),
                                         row.setting.len, short_name(row.setting.dtype)),
                             {static_cast<double>(row.prediction.workspace_bytes) / 1e6,
                              static_cast<double>(row.plan_workspace_bytes) / 1e6,
                              static_cast<double>(row.peak_bytes) / 1e6}});
      }
    }
  }
  return plot.rows.empty() ? "" : svg(plot);
}

std::string cache_plot(const std::vector<Row>& rows) {
  BarPlot plot{"Cache, bytes a token", "bytes", {}};
  for (const Group& group : groups_of(rows)) {
    for (size_t i = group.begin; i < group.end; ++i) {
      const Row& row = rows[i];
      if (row.contender.system == System::kChunked || row.contender.system == System::kAbsorbed ||
          row.contender.system == System::kDenseDecode) {
        continue;  // the same cache as the form before
      }
      const std::string name = fmt::format(
          "{} x {}, {}", row.setting.heads, short_name(row.setting.dtype),
          row.contender.system == System::kExpanded
              ? fmt::format("DeepSeek MLA, L {}+{}", row.contender.latent, row.contender.rope)
              : row.contender.text());
      const bool known = std::any_of(plot.bars.begin(), plot.bars.end(),
                                     [&](const Bar& bar) { return bar.name == name; });
      if (!known) {
        const auto bytes = static_cast<double>(row.prediction.cache_bytes_per_token);
        plot.bars.push_back(
            {name, bytes, fmt::format("{:.0f}", bytes), 0, 0, colour_of(row.contender.system)});
      }
    }
  }
  return svg(plot);
}

std::string precision_plot(const std::vector<PrecisionRow>& rows) {
  DotPlot plot{"Error against double", "relative error", {"fp32", "bf16", "fp16"}, {}};
  for (const PrecisionRow& row : rows) {
    const std::string name = row.contender.text();
    const auto found = std::find_if(plot.rows.begin(), plot.rows.end(),
                                    [&](const DotRow& dots) { return dots.name == name; });
    DotRow& dots = found != plot.rows.end()
                       ? *found
                       : plot.rows.emplace_back(DotRow{name, std::vector<double>(3, 0)});
    for (size_t i = 0; i < kFloatTypes.size(); ++i) {
      if (kFloatTypes[i] == row.setting.dtype && row.result.why_not.empty()) {
        dots.values[i] = row.result.error.relative;
      }
    }
  }
  return svg(plot);
}

constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

double relative_error(const MeasuredError& error) {
  return error.why_not.empty() ? error.error.relative : kNotMeasured;
}

// One line through the points of a system that have a value.
template <typename Y>
Line line_of(const Tradeoff& t, System system, const std::string& name, size_t colour, Y y_of) {
  Line line{name, {}, colour, false};
  for (const TradeoffPoint& point : t.points) {
    const double y = point.contender.system == system ? y_of(point) : kNotMeasured;
    if (std::isfinite(y)) {
      line.points.push_back({point.compression, y});
    }
  }
  return line;
}

std::string tradeoff_plots(const Tradeoff& t) {
  const auto error = [](size_t dtype) {
    return [dtype](const TradeoffPoint& p) { return relative_error(p.errors[dtype]); };
  };
  LinePlot fp32{"Error against cache compression, fp32",
                "times less cache than multi-head attention",
                "relative error",
                Scale::kLog,
                Scale::kLinear,
                {}};
  fp32.lines.push_back(line_of(t, System::kExpanded, "DeepSeek", 3, error(0)));
  fp32.lines.push_back(line_of(t, System::kExpanded, "its cut weights", 3,
                               [](const TradeoffPoint& p) { return p.weight_error; }));
  fp32.lines.back().dashed = true;
  fp32.lines.push_back(line_of(t, System::kTraditional, "traditional", 1, error(0)));
  fp32.lines.push_back(
      line_of(t, System::kTraditional, "its own error", 1,
              [](const TradeoffPoint& p) { return relative_error(p.own_errors[0]); }));
  fp32.lines.back().dashed = true;
  LinePlot dtypes{"DeepSeek's form: rounding and compression",
                  "times less cache",
                  "relative error",
                  Scale::kLog,
                  Scale::kLog,
                  {}};
  for (size_t i = 0; i < kFloatTypes.size(); ++i) {
    dtypes.lines.push_back(line_of(t, System::kExpanded, short_name(kFloatTypes[i]), i, error(i)));
  }
  std::string html = svg(fp32) + svg(dtypes);
  for (const bool prefill : {true, false}) {
    LinePlot speed{fmt::format("Speed-up over the given layer, {}", prefill ? "prefill" : "decode"),
                   "times less cache than multi-head attention",
                   "times as fast",
                   Scale::kLog,
                   Scale::kLinear,
                   {}};
    const auto y = [prefill](const TradeoffPoint& p) {
      const std::optional<Spread>& speed_up = (prefill ? p.prefill : p.decode).speed_up;
      return speed_up ? speed_up->median : kNotMeasured;
    };
    speed.lines.push_back(line_of(t, System::kExpanded, "DeepSeek expanded", 3, y));
    speed.lines.push_back(line_of(t, System::kAbsorbed, "DeepSeek absorbed", 4, y));
    speed.lines.push_back(line_of(t, System::kTraditional, "traditional", 1, y));
    html += svg(speed);
  }
  LinePlot spectrum{"Singular values of [Wk; Wv]", "number", "value", Scale::kLog, Scale::kLog, {}};
  Line line{"given weights", {}, 0, false};
  for (size_t i = 0; i < t.spectrum.size(); ++i) {
    line.points.push_back({static_cast<double>(i + 1), t.spectrum[i]});
  }
  spectrum.lines.push_back(line);
  return html + svg(spectrum);
}

std::string plots_of(const Section& section, const CompareReport& report) {
  std::vector<Row> all = report.rows;
  all.insert(all.end(), report.claim_rows.begin(), report.claim_rows.end());
  if (section.id == "systems") {
    return time_plots(report.rows) + fraction_plot(all);
  }
  if (section.id == "theory") {
    return theory_plot(all);
  }
  if (section.id == "memory") {
    return memory_plot(report.rows) + cache_plot(report.rows);
  }
  if (section.id == "precision") {
    return precision_plot(report.precision);
  }
  return section.id == "tradeoff" ? tradeoff_plots(*report.tradeoff) : "";
}

}  // namespace

std::string compare_html(const CompareReport& report) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<title>seesaw compare: {}</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<h1>Attention layers side by side</h1>\n"
      "<p class=\"facts\">{} ({}), commit {}, {}. Ceilings measured in this run: {}. Load before "
      "the start: {:.2f} on {} CPUs.</p>\n<ul>\n",
      escaped(report.device_name), kStyle, escaped(report.device_name), escaped(report.device),
      escaped(build_commit()), escaped(report.date), escaped(ceilings_text(report.ceilings)),
      report.load, report.machine.logical_cpus);
  for (const std::string& finding : findings_of(report)) {
    html += fmt::format("<li>{}</li>\n", escaped(finding));
  }
  html += "</ul>\n";
  for (const Section& section : sections_of(report)) {
    html += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"note\">{}</p>\n", section.id,
                        escaped(section.title), escaped(section.note));
    const std::string plots = plots_of(section, report);
    html += plots.empty() ? "" : "<div class=\"plots\">\n" + plots + "</div>\n";
    html += table_html(section) + "</section>\n";
  }
  return html + "</body>\n</html>\n";
}

}  // namespace seesaw::tools
