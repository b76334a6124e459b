#include "compare/svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace seesaw::tools {
namespace {

// Told apart also with the common colour blindnesses.
constexpr std::array kColours = {"#2f6fb3", "#d9730d", "#2e8b57", "#a33a6b", "#6a5acd", "#7a7a7a"};
constexpr double kWidth = 760;
constexpr double kNameWidth = 262;
constexpr double kTop = 30;  // below the title
constexpr double kRowHeight = 22;
constexpr double kValueWidth = 120;     // behind bars
constexpr double kLongestSpread = 1.4;  // of a spread's end, to the longest bar

const char* colour(size_t i) { return kColours[i % kColours.size()]; }

// A picture in the making. Coordinates have one digit behind the point: files stay small.
class Canvas {
 public:
  Canvas(double width, double height, const std::string& title) {
    text_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" "
        "aria-label=\"{}\">\n",
        width, height, escaped(title));
    label(0, 14, title, "start", "title");
  }
  void label(double x, double y, const std::string& text, const char* anchor,
             const char* style = "label") {
    text_ +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n",
                    x, y, anchor, style, escaped(text));
  }
  void line(double x1, double y1, double x2, double y2, const std::string& style) {
    text_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1,
                         y1, x2, y2, style);
  }
  void raw(const std::string& text) { text_ += text; }
  std::string finish() { return text_ + "</svg>\n"; }

 private:
  std::string text_;
};

constexpr const char* kGrid = "stroke=\"#e3e3e3\"";

std::string tick_text(double value) {
  return value >= 1e6 || (value < 1e-2 && value > 0) ? fmt::format("{:.0e}", value)
                                                     : fmt::format("{:.6g}", value);
}

// Maps values to pixels, and chooses ticks.
class Axis {
 public:
  Axis(Scale scale, double low, double high, double from, double to)
      : scale_(scale), low_(low), high_(high), from_(from), to_(to) {
    if (scale == Scale::kLog) {
      const double room = std::pow(high / low, 0.04);
      low_ = low / room;
      high_ = high * room;
    }
    if (!(high_ > low_)) {
      high_ = low_ + std::max(std::fabs(low_), 1e-12);
    }
  }
  double at(double value) const {
    const double part = scale_ == Scale::kLog ? std::log(value / low_) / std::log(high_ / low_)
                                              : (value - low_) / (high_ - low_);
    return from_ + part * (to_ - from_);
  }
  std::vector<double> ticks() const { return scale_ == Scale::kLog ? log_ticks() : linear_ticks(); }

 private:
  // Powers of ten, every second or third if they are many; with 2 and 5 if they are few.
  std::vector<double> log_ticks() const {
    const double decades = std::log10(high_ / low_);
    const int step = std::max(1, static_cast<int>(std::ceil(decades / 7)));
    std::vector<double> result;
    for (int e = static_cast<int>(std::floor(std::log10(low_))); std::pow(10, e) <= high_; ++e) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double value = digit * std::pow(10, e);
        const bool wanted = digit == 1.0 ? e % step == 0 : decades < 2.2;
        if (wanted && value >= low_ && value <= high_) {
          result.push_back(value);
        }
      }
    }
    return result;
  }
  std::vector<double> linear_ticks() const {
    const double rough = (high_ - low_) / 5;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double digit = rough / power;
    const double step = power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
    std::vector<double> result;
    for (double tick = std::ceil(low_ / step) * step; tick <= high_ * (1 + 1e-9); tick += step) {
      result.push_back(std::fabs(tick) < step * 1e-6 ? 0 : tick);
    }
    return result;
  }

  Scale scale_;
  double low_;
  double high_;
  double from_;
  double to_;
};

bool drawable(double value) { return std::isfinite(value) && value > 0; }

// Zero has a place on a linear axis.
bool drawable(double value, Scale scale) {
  return drawable(value) || (scale == Scale::kLinear && value == 0);
}

// The smallest and largest of what can be drawn on a logarithmic axis.
struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = 0;
  void add(double value) {
    if (drawable(value)) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  bool empty() const { return !(high > 0); }
};

void vertical_ticks(const Axis& axis, double top, double bottom, const std::string& unit,
                    double right, Canvas* canvas) {
  for (const double tick : axis.ticks()) {
    canvas->line(axis.at(tick), top, axis.at(tick), bottom, kGrid);
    canvas->label(axis.at(tick), bottom + 14, tick_text(tick), "middle");
  }
  canvas->label(right, bottom + 28, unit, "end");
}

void legend(const std::vector<std::pair<std::string, size_t>>& names, double y, Canvas* canvas) {
  double x = 0;
  for (const auto& [name, index] : names) {
    canvas->raw(fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\" fill=\"{}\"/>\n", x + 5,
                            y - 4, colour(index)));
    canvas->label(x + 14, y, name, "start");
    x += 30 + 7.2 * static_cast<double>(name.size());
    if (x > kWidth - 160) {
      x = 0;
      y += 16;
    }
  }
}

std::string empty_plot(const std::string& title) {
  Canvas canvas(kWidth, 40, title);
  canvas.label(0, 34, "nothing was measured", "start");
  return canvas.finish();
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return safe;
}

std::string svg(const BarPlot& plot) {
  double longest = 0;
  double most = 0;
  for (const Bar& bar : plot.bars) {
    longest = std::max(longest, bar.value);
    most = std::max({most, bar.value, bar.high});
  }
  most = std::min(most, kLongestSpread * longest);
  if (!drawable(most)) {
    return empty_plot(plot.title);
  }
  const double bottom = kTop + kRowHeight * static_cast<double>(plot.bars.size());
  Canvas canvas(kWidth, bottom + 34, plot.title);
  const Axis axis(Scale::kLinear, 0, most, kNameWidth, kWidth - kValueWidth);
  vertical_ticks(axis, kTop, bottom, plot.unit, kWidth - kValueWidth, &canvas);
  double y = kTop;
  for (const Bar& bar : plot.bars) {
    canvas.label(kNameWidth - 8, y + 14, bar.name, "end");
    canvas.raw(fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"13\" rx=\"2\" fill=\"{}\"/>\n",
        kNameWidth, y + 3.5, std::max(axis.at(bar.value) - kNameWidth, 0.8), colour(bar.colour)));
    const double high = std::min(bar.high, most);
    if (bar.high > 0) {
      canvas.line(axis.at(bar.low), y + 10, axis.at(high), y + 10,
                  "stroke=\"#222\" stroke-width=\"1.2\"");
    }
    canvas.label(axis.at(std::max(bar.value, high)) + 6, y + 14, bar.text, "start", "value");
    y += kRowHeight;
  }
  return canvas.finish();
}

std::string svg(const DotPlot& plot) {
  Range range;
  for (const DotRow& row : plot.rows) {
    std::for_each(row.values.begin(), row.values.end(), [&](double v) { range.add(v); });
  }
  if (range.empty()) {
    return empty_plot(plot.title);
  }
  const double top = kTop + (plot.series.size() > 4 ? 40 : 22);  // below the legend
  const double bottom = top + kRowHeight * static_cast<double>(plot.rows.size());
  Canvas canvas(kWidth, bottom + 34, plot.title);
  std::vector<std::pair<std::string, size_t>> names;
  for (size_t i = 0; i < plot.series.size(); ++i) {
    names.emplace_back(plot.series[i], i);
  }
  legend(names, kTop + 6, &canvas);
  const Axis axis(plot.scale, plot.scale == Scale::kLog ? range.low : 0, range.high, kNameWidth + 6,
                  kWidth - 20);
  vertical_ticks(axis, top, bottom, plot.unit, kWidth - 20, &canvas);
  double y = top;
  for (const DotRow& row : plot.rows) {
    canvas.label(kNameWidth - 8, y + 14, row.name, "end");
    canvas.line(kNameWidth, y + 10, kWidth - 20, y + 10, kGrid);
    for (size_t i = 0; i < row.values.size(); ++i) {
      if (drawable(row.values[i])) {
        canvas.raw(fmt::format(
            "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\" fill=\"{}\" fill-opacity=\"0.85\">"
            "<title>{}: {:.3g}</title></circle>\n",
            axis.at(row.values[i]), y + 10, colour(i), escaped(plot.series[i]), row.values[i]));
      }
    }
    y += kRowHeight;
  }
  return canvas.finish();
}

std::string svg(const LinePlot& plot) {
  constexpr double kHeight = 250;
  constexpr double kLeft = 60;
  Range xs, ys;
  for (const Line& line : plot.lines) {
    for (const Point& point : line.points) {
      if (drawable(point.x, plot.x_scale) && drawable(point.y, plot.y_scale)) {
        xs.add(point.x);
        ys.add(point.y);
      }
    }
  }
  if (xs.empty() || ys.empty()) {
    return empty_plot(plot.title);
  }
  const double top = kTop + (plot.lines.size() > 4 ? 56 : 38);
  const double bottom = top + kHeight;
  Canvas canvas(kWidth, bottom + 34, plot.title);
  std::vector<std::pair<std::string, size_t>> names;
  for (const Line& line : plot.lines) {
    names.emplace_back(line.name + (line.dashed ? " (dashed)" : ""), line.colour);
  }
  legend(names, kTop + 6, &canvas);
  const Axis x(plot.x_scale, plot.x_scale == Scale::kLog ? xs.low : 0, xs.high, kLeft, kWidth - 20);
  const Axis y(plot.y_scale, plot.y_scale == Scale::kLog ? ys.low : 0, ys.high, bottom, top);
  vertical_ticks(x, top, bottom, plot.x_unit, kWidth - 20, &canvas);
  for (const double tick : y.ticks()) {
    canvas.line(kLeft, y.at(tick), kWidth - 20, y.at(tick), kGrid);
    canvas.label(kLeft - 6, y.at(tick) + 4, tick_text(tick), "end");
  }
  canvas.label(kLeft, top - 8, plot.y_unit, "start");
  for (const Line& line : plot.lines) {
    std::string path;
    std::string marks;
    for (const Point& point : line.points) {
      if (drawable(point.x, plot.x_scale) && drawable(point.y, plot.y_scale)) {
        path += fmt::format("{:.1f},{:.1f} ", x.at(point.x), y.at(point.y));
        marks += fmt::format(
            "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\" fill=\"{}\"><title>{}: {:.3g}, {:.3g}"
            "</title></circle>\n",
            x.at(point.x), y.at(point.y), colour(line.colour), escaped(line.name), point.x,
            point.y);
      }
    }
    canvas.raw(fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{}/>\n", path,
        colour(line.colour), line.dashed ? " stroke-dasharray=\"5 4\"" : ""));
    canvas.raw(line.points.size() <= 24 ? marks : "");
  }
  return canvas.finish();
}

}  // namespace seesaw::tools
