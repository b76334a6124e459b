// Plots as SVG text, for a page that fetches nothing: bars with names, and points or lines over
// logarithmic axes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace seesaw::tools {

// Text made safe inside XML elements and attributes.
std::string escaped(std::string_view text);

enum class Scale { kLinear, kLog };

// A horizontal bar with its value written behind it. `low` and `high`: its spread, if high > 0;
// one that reaches far beyond all bars is cut at the edge.
struct Bar {
  std::string name;
  double value = 0;
  std::string text;
  double low = 0;
  double high = 0;
  size_t colour = 0;
};
struct BarPlot {
  std::string title;
  std::string unit;  // of the axis
  std::vector<Bar> bars;
};
std::string svg(const BarPlot& plot);

// For each line of names some marks along one axis: a row a name, a colour a series.
struct DotRow {
  std::string name;
  std::vector<double> values;  // by series; not positive or not finite: no mark
};
struct DotPlot {
  std::string title;
  std::string unit;
  std::vector<std::string> series;
  std::vector<DotRow> rows;
  Scale scale = Scale::kLog;
};
std::string svg(const DotPlot& plot);

struct Point {
  double x = 0;
  double y = 0;
};
struct Line {
  std::string name;
  std::vector<Point> points;
  size_t colour = 0;
  bool dashed = false;
};
struct LinePlot {
  std::string title;
  std::string x_unit;
  std::string y_unit;
  Scale x_scale = Scale::kLog;
  Scale y_scale = Scale::kLog;
  std::vector<Line> lines;
};
std::string svg(const LinePlot& plot);

}  // namespace seesaw::tools
