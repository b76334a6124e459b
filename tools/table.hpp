// A table for a terminal: columns as wide as their widest cell, numbers to the right.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace seesaw::tools {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  std::string text() const {
    std::vector<size_t> widths(rows_[0].size(), 0);
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) {
        widths[i] = std::max(widths[i], row[i].size());
      }
    }
    std::string result;
    for (size_t r = 0; r < rows_.size(); ++r) {
      append_row(rows_[r], widths, &result);
      if (r == 0) {
        append_rule(widths, &result);
      }
    }
    return result;
  }

 private:
  static constexpr std::string_view kGap = "  ";

  // Only figures, also as 1.2e-05 and "8192 var".
  bool is_number_column(size_t column) const {
    return std::all_of(rows_.begin() + 1, rows_.end(), [&](const auto& row) {
      return row[column].find_first_not_of("0123456789.+-e var") == std::string::npos;
    });
  }

  void append_row(const std::vector<std::string>& row, const std::vector<size_t>& widths,
                  std::string* result) const {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      line.append(i == 0 ? "" : kGap);
      line.append(is_number_column(i) ? padding + row[i] : row[i] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result->append(line).append("\n");
  }

  static void append_rule(const std::vector<size_t>& widths, std::string* result) {
    for (size_t i = 0; i < widths.size(); ++i) {
      result->append(i == 0 ? "" : kGap).append(widths[i], '-');
    }
    result->append("\n");
  }

  std::vector<std::vector<std::string>> rows_;
};

}  // namespace seesaw::tools
