#include "ladder/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace seesaw::ladder {
namespace {

// A timed rung, and how far its bar reaches: 0 to 1 over the decades that hold all times.
struct Bar {
  std::string number;
  std::string idea;
  std::string time;
  double reach = 0.0;
};

struct Climb {
  std::vector<Bar> bars;
  int first_decade = 0;  // the axis: 10^first to 10^last microseconds
  int last_decade = 0;
};

std::string time_text(double us) {
  return us >= 1e3 ? fmt::format("{:.1f} ms", us * 1e-3) : fmt::format("{:.0f} us", us);
}

// The least decade begins below the shortest time, so that every rung has a bar.
Climb climb_of(const Report& report) {
  Climb climb;
  std::vector<const RungResult*> timed;
  for (const RungResult& rung : report.rungs) {
    if (rung.error.empty() && rung.runs > 0 && rung.microseconds > 0.0) {
      timed.push_back(&rung);
    }
  }
  if (timed.empty()) {
    return climb;
  }
  const auto [shortest, longest] = std::minmax_element(
      timed.begin(), timed.end(),
      [](const RungResult* a, const RungResult* b) { return a->microseconds < b->microseconds; });
  climb.first_decade = static_cast<int>(std::ceil(std::log10((*shortest)->microseconds))) - 1;
  climb.last_decade = std::max(climb.first_decade + 1,
                               static_cast<int>(std::ceil(std::log10((*longest)->microseconds))));
  for (const RungResult* rung : timed) {
    climb.bars.push_back({rung->number > 0 ? std::to_string(rung->number) : "cpu", rung->idea,
                          time_text(rung->microseconds),
                          (std::log10(rung->microseconds) - climb.first_decade) /
                              (climb.last_decade - climb.first_decade)});
  }
  return climb;
}

std::string escaped(const std::string& text) {
  std::string safe;
  for (char c : text) {
    c = static_cast<unsigned char>(c) < 0x20 ? '?' : c;  // XML has no way to write them
    safe += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  }
  return safe;
}

}  // namespace

std::string bars_of(const Report& report) {
  const Climb climb = climb_of(report);
  if (climb.bars.size() < 2) {
    return "";
  }
  constexpr int kWidth = 56;
  std::string text = fmt::format("the climb, logarithmic, from {}\n",
                                 time_text(std::pow(10.0, climb.first_decade)));
  for (const Bar& bar : climb.bars) {
    const auto length = static_cast<size_t>(std::lround(kWidth * bar.reach));
    text += fmt::format("{:>4}  {} {}\n", bar.number, std::string(length, '#'), bar.time);
  }
  return text;
}

std::string svg_of(const Report& report, const std::string& commit) {
  const Climb climb = climb_of(report);
  constexpr double kNames = 290, kBars = 400, kTimes = 80, kRow = 24, kTop = 34, kFoot = 40;
  const double bottom = kTop + kRow * static_cast<double>(climb.bars.size());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" "
      "font-family=\"system-ui, sans-serif\" font-size=\"12.5\" fill=\"#333\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      "<text x=\"8\" y=\"18\" font-size=\"15\" font-weight=\"600\">The ladder on {}, commit "
      "{}</text>\n",
      kNames + kBars + kTimes, bottom + kFoot,
      escaped(report.device.empty() ? "a CPU" : report.device), escaped(commit));
  for (int decade = climb.first_decade; decade <= climb.last_decade; ++decade) {
    const double x = kNames + kBars * (decade - climb.first_decade) /
                                  std::max(climb.last_decade - climb.first_decade, 1);
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1:.0f}\" x2=\"{0:.1f}\" y2=\"{2:.0f}\" stroke=\"#ddd\"/>\n"
        "<text x=\"{0:.1f}\" y=\"{3:.0f}\" text-anchor=\"middle\" fill=\"#666\">{4}</text>\n",
        x, kTop, bottom, bottom + 18, time_text(std::pow(10.0, decade)));
  }
  double y = kTop;
  for (const Bar& bar : climb.bars) {
    svg += fmt::format(
        "<text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n"
        "<rect x=\"{:.0f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" fill=\"#2f6fb3\"/>\n"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        kNames - 8, y + 16, escaped(bar.number + "  " + bar.idea), kNames, y + 4, kBars * bar.reach,
        kRow - 8, kNames + kBars * bar.reach + 6, y + 16, bar.time);
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace seesaw::ladder
