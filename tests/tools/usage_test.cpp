// Suggestions for what was mistyped, and progress where nobody watches.
#include "usage.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "progress.hpp"

namespace seesaw::tools {
namespace {

using std::chrono::milliseconds;

TEST(Nearest, CountsLettersInOutChangedAndSwapped) {
  const std::vector<std::string> names = {"run", "tune", "explain", "bench"};
  EXPECT_EQ(nearest("rn", names, 9), "run");
  EXPECT_EQ(nearest("tuen", names, 1), "tune");
  EXPECT_EQ(nearest("explian", names, 1), "explain");
  EXPECT_EQ(nearest("beench", names, 1), "bench");
  EXPECT_EQ(nearest("plan", names, 1), "");
  EXPECT_EQ(nearest("plan", {}, 9), "");
}

std::string written(const ProgressPace& pace, milliseconds step) {
  testing::internal::CaptureStderr();
  {
    Progress progress("bench", 4, pace);
    progress.update(0, "first");
    std::this_thread::sleep_for(step);
    progress.update(1, "second");
    std::this_thread::sleep_for(step);
  }
  return testing::internal::GetCapturedStderr();
}

TEST(Progress, WithoutATerminalNothingOfWhatEndsSoon) {
  EXPECT_EQ(written({milliseconds(5000), milliseconds(5000)}, milliseconds(5)), "");
}

TEST(Progress, WithoutATerminalLongStepsGoOnSayingSo) {
  const std::string text = written({milliseconds(20), milliseconds(20)}, milliseconds(200));
  EXPECT_NE(text.find("bench: 0 %: first\n"), std::string::npos) << text;
  EXPECT_NE(text.find("bench: 25 %, about 1 s left: second\n"), std::string::npos) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos) << text;
}

TEST(Progress, AskedForItBeginsAtOnce) {
  EXPECT_EQ(written(kPaceWhenAsked, milliseconds(5)), "bench: 0 %: first\n");
}

TEST(Progress, DurationsAreAsExactAsEstimates) {
  EXPECT_EQ(duration_text(0.2), "1 s");
  EXPECT_EQ(duration_text(61), "61 s");
  EXPECT_EQ(duration_text(400), "7 min");
  EXPECT_EQ(duration_text(7200), "2.0 h");
}

}  // namespace
}  // namespace seesaw::tools
