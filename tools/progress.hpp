// How far a long command is and when it will end, on stderr: one line that changes on a terminal;
// elsewhere a line now and then, for log files, and nothing at all of a command that ends soon.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace seesaw::tools {

// When lines are written where stderr is no terminal.
struct ProgressPace {
  std::chrono::milliseconds first{5000};  // before that the command may be done
  std::chrono::milliseconds every{10000};
  bool at_once() const { return first == std::chrono::milliseconds(0); }
};
inline constexpr ProgressPace kPaceWhenAsked{std::chrono::milliseconds(0),
                                             std::chrono::milliseconds(2000)};

class Progress {
 public:
  // `total` in any unit, for instance cases or expected seconds. `forced`: --progress.
  Progress(std::string title, double total, bool forced);
  Progress(std::string title, double total, const ProgressPace& pace);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of the total are finished, now comes `what`.
  void update(double done, const std::string& what);

  // Takes the line away, so that other output starts on a clean one.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  void write_line();         // with `mutex_` held
  void keep_writing();       // the thread of a log file
  std::string text() const;  // with `mutex_` held

  const std::string title_;
  const double total_;
  const bool terminal_;
  const ProgressPace pace_;
  const Clock::time_point start_ = Clock::now();

  std::mutex mutex_;
  std::condition_variable ended_;
  bool stop_ = false;
  bool started_ = false;
  bool dirty_ = false;  // a line stands on the terminal
  double done_ = 0;
  std::string what_;
  Clock::time_point last_{};
  std::thread writer_;  // not on a terminal: a long step must not look like a hang
};

// "40 s", "6 min", "2 h": as exact as an estimate deserves.
std::string duration_text(double seconds);

}  // namespace seesaw::tools
