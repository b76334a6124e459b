// A line on stderr that says how far a long command is, and when it will end. Silent unless stderr
// is a terminal or the user asked for it.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "output.hpp"

namespace seesaw::tools {

class Progress {
 public:
  Progress(const std::string& title, int64_t total, bool forced)
      : title_(title),
        total_(total),
        terminal_(isatty(STDERR_FILENO) == 1),
        shown_(forced || terminal_) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of the total are finished, now comes `what`. At most ten lines a second.
  void update(int64_t done, const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    const bool too_soon = now - last_ < std::chrono::milliseconds(terminal_ ? 100 : 2000);
    if (!shown_ || (too_soon && done != 0)) {
      return;
    }
    last_ = now;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    std::string line = fmt::format("{}: {}/{} ({}%)", title_, done, total_,
                                   total_ > 0 ? 100 * done / total_ : 100);
    if (done > 0) {
      const auto left = static_cast<double>(total_ - done);
      line += fmt::format(", {:.0f} s left", elapsed / static_cast<double>(done) * left);
    }
    line += what.empty() ? "" : "  " + what;
    if (terminal_) {
      print_note("\r\x1b[K{}", line.substr(0, 120));
    } else {
      print_note("{}\n", line);
    }
    std::fflush(stderr);
    dirty_ = true;
  }

  // Takes the line away, so that other output starts on a clean one.
  void clear() {
    if (dirty_ && terminal_) {
      std::fputs("\r\x1b[K", stderr);
      std::fflush(stderr);
    }
    dirty_ = false;
  }

 private:
  std::string title_;
  int64_t total_;
  bool terminal_;
  bool shown_;
  bool dirty_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_;
};

}  // namespace seesaw::tools
