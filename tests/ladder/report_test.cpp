// The climb's table and its JSON.
#include "ladder/report.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace seesaw::ladder {
namespace {

RungResult timed(int number, const char* idea, double microseconds) {
  RungResult result;
  result.number = number;
  result.idea = idea;
  result.microseconds = microseconds;
  result.runs = 5;
  return result;
}

// A decade each, one rung that did not run.
Report three_rungs() {
  Report report;
  report.device = "a <device>";
  report.rungs = {timed(1, "slow", 100000), timed(2, "middle & other", 1000), timed(3, "fast", 20)};
  RungResult absent;
  absent.number = 4;
  absent.idea = "absent";
  absent.error = "needs a Hopper GPU";
  report.rungs.push_back(absent);
  return report;
}

// It ran on another machine than the rung before it, and in another way.
TEST(LadderReport, TheCpuRowIsNoStepOfTheClimb) {
  Report report = three_rungs();
  report.rungs.push_back(timed(0, "on the CPU", 500));
  const std::string table = table_of(report);
  EXPECT_NE(table.find(" 50.00 "), std::string::npos) << table;  // rung 3 to rung 2
  EXPECT_EQ(table.find(" 0.04 "), std::string::npos) << table;   // the CPU row to rung 3
  const auto json = nlohmann::json::parse(json_of(report, "0123abc", "seesaw ladder"));
  EXPECT_TRUE(json.contains("method"));
  EXPECT_FALSE(json["rungs"].front().contains("method"));
  EXPECT_TRUE(json["rungs"].back().contains("method"));
}

TEST(LadderReport, NamesThatAreNoUtf8) {
  const std::string json = json_of(three_rungs(), "a\xFF", "");
  EXPECT_EQ(nlohmann::json::parse(json)["commit"], "a\xEF\xBF\xBD");
  EXPECT_EQ(valid_utf8("a\xFFz\n\""), "a\xEF\xBF\xBDz\n\"");
}

}  // namespace
}  // namespace seesaw::ladder
