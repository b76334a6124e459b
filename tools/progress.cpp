#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "output.hpp"

namespace seesaw::tools {
namespace {

constexpr std::chrono::milliseconds kOnTerminal{100};
constexpr size_t kLongestLine = 120;

}  // namespace

Progress::Progress(std::string title, double total, bool forced)
    : Progress(std::move(title), total, forced ? kPaceWhenAsked : ProgressPace{}) {}

Progress::Progress(std::string title, double total, const ProgressPace& pace)
    : title_(std::move(title)), total_(total), terminal_(isatty(STDERR_FILENO) == 1), pace_(pace) {
  if (!terminal_) {
    writer_ = std::thread([this] { keep_writing(); });
  }
}

Progress::~Progress() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  ended_.notify_all();
  if (writer_.joinable()) {
    writer_.join();
  }
  clear();
}

void Progress::update(double done, const std::string& what) {
  const std::lock_guard lock(mutex_);
  const bool first = !started_;
  started_ = true;
  done_ = done;
  what_ = what;
  const bool due = terminal_ ? Clock::now() - last_ >= kOnTerminal : first && pace_.at_once();
  if (due) {
    write_line();
  }
}

void Progress::clear() {
  const std::lock_guard lock(mutex_);
  if (dirty_) {
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
  }
  dirty_ = false;
}

std::string Progress::text() const {
  const double part = total_ > 0 ? std::min(1.0, done_ / total_) : 1;
  std::string line = fmt::format("{}: {:.0f} %", title_, std::floor(100 * part));
  if (part > 0 && part < 1) {
    const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
    line += fmt::format(", about {} left", duration_text(elapsed / part * (1 - part)));
  }
  return line + (what_.empty() ? "" : ": " + what_);
}

void Progress::write_line() {
  last_ = Clock::now();
  if (terminal_) {
    print_note("\r\x1b[K{}", text().substr(0, kLongestLine));
    dirty_ = true;
  } else {
    print_note("{}\n", text());
  }
  std::fflush(stderr);
}

void Progress::keep_writing() {
  std::unique_lock lock(mutex_);
  auto next = start_ + (pace_.at_once() ? pace_.every : pace_.first);
  while (!ended_.wait_until(lock, next, [this] { return stop_; })) {
    if (started_) {
      write_line();
    }
    next = Clock::now() + pace_.every;
  }
}

std::string duration_text(double seconds) {
  if (seconds < 90) {
    return fmt::format("{:.0f} s", std::max(1.0, seconds));
  }
  return seconds < 5400 ? fmt::format("{:.0f} min", seconds / 60)
                        : fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace seesaw::tools
