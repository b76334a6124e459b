// The climb's bars, its picture, its table and its JSON.
#include "ladder/plot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ladder/report.hpp"

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

TEST(LadderPlot, BarsAreLogarithmicAndOnlyOfWhatRan) {
  std::istringstream text(bars_of(three_rungs()));
  std::string line;
  std::getline(text, line);
  EXPECT_EQ(line, "the climb, logarithmic, from 10 us");
  const double reaches[] = {1.0, 0.5, 0.0753};  // of the four decades from 10 us to 100 ms
  const char* times[] = {"100.0 ms", "1.0 ms", "20 us"};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(std::getline(text, line));
    EXPECT_EQ(std::count(line.begin(), line.end(), '#'), std::lround(56 * reaches[i])) << line;
    EXPECT_TRUE(line.ends_with(times[i])) << line;
  }
  EXPECT_FALSE(std::getline(text, line)) << line;
}

TEST(LadderPlot, OneTimeIsNoClimb) {
  Report report = three_rungs();
  report.rungs.erase(report.rungs.begin() + 1, report.rungs.begin() + 3);
  EXPECT_EQ(bars_of(report), "");
  EXPECT_EQ(bars_of(Report{}), "");
}

TEST(LadderPlot, ThePictureIsWholeAndEscaped) {
  const std::string svg = svg_of(three_rungs(), "0123abc");
  EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
  EXPECT_NE(svg.find("The ladder on a &lt;device&gt;, commit 0123abc"), std::string::npos);
  EXPECT_NE(svg.find("2  middle &amp; other"), std::string::npos);
  EXPECT_EQ(svg.find("absent"), std::string::npos);
  EXPECT_NE(svg.find("width=\"400.0\""), std::string::npos);  // rung 1's bar: the whole axis
  EXPECT_TRUE(svg_of(Report{}, "").ends_with("</svg>\n"));    // nothing ran: an empty picture
}

TEST(LadderPlot, BytesThatXmlCannotHoldAreReplaced) {
  EXPECT_NE(svg_of(three_rungs(), "a\x01").find("commit a?<"), std::string::npos);
}

// It ran on another machine than the rung before it, and in another way.
TEST(LadderReport, TheCpuRowIsNoStepOfTheClimb) {
  Report report = three_rungs();
  report.rungs.push_back(timed(0, "on the CPU", 500));
  const std::string table = table_of(report);
  EXPECT_NE(table.find(" 50.00 "), std::string::npos) << table;  // rung 3 to rung 2
  EXPECT_EQ(table.find(" 0.04 "), std::string::npos) << table;   // the CPU row to rung 3
  const auto json = nlohmann::json::parse(json_of(report, "0123abc"));
  EXPECT_TRUE(json.contains("method"));
  EXPECT_FALSE(json["rungs"].front().contains("method"));
  EXPECT_TRUE(json["rungs"].back().contains("method"));
}

TEST(LadderReport, NamesThatAreNoUtf8) {
  const std::string json = json_of(three_rungs(), "a\xFF");
  EXPECT_EQ(nlohmann::json::parse(json)["commit"], "a\xEF\xBF\xBD");
  EXPECT_EQ(valid_utf8("a\xFFz\n\""), "a\xEF\xBF\xBDz\n\"");
}

}  // namespace
}  // namespace seesaw::ladder
