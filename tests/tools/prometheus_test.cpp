// The Prometheus text: its grammar, its escapes, its numbers.
#include "prometheus.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "lab/call.hpp"
#include "lab/synthetic.hpp"
#include "options.hpp"

namespace seesaw::tools {
namespace {

// What a scraper would make of a text; fails the current test where it is not in the format.
struct Exposition {
  std::map<std::string, std::string> types;
  std::map<std::string, std::string> samples;  // "name{labels}" to value

  explicit Exposition(const std::string& text) {
    EXPECT_TRUE(text.empty() || text.back() == '\n');
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      read(line);
    }
  }

  double value(const std::string& sample) const {
    const auto found = samples.find(sample);
    EXPECT_NE(found, samples.end()) << "no sample " << sample;
    return found == samples.end() ? -1 : std::stod(found->second);
  }

 private:
  void read(const std::string& line) {
    static const std::regex help(R"(# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) [^\n]+)");
    static const std::regex type(R"(# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge))");
    static const std::regex sample(
        R"(([a-zA-Z_:][a-zA-Z0-9_:]*)\{([a-z]+="([^"\\]|\\[\\"n])*"(,[a-z]+="([^"\\]|\\[\\"n])*")*)\} ([0-9]+(\.[0-9]+)?))");
    std::smatch match;
    if (std::regex_match(line, match, help)) {
      EXPECT_TRUE(helped_.insert(match[1]).second) << "twice: " << line;
    } else if (std::regex_match(line, match, type)) {
      EXPECT_TRUE(helped_.count(match[1])) << "no HELP before: " << line;
      EXPECT_TRUE(types.emplace(match[1], match[2]).second) << "twice: " << line;
      current_ = match[1];
    } else if (std::regex_match(line, match, sample)) {
      EXPECT_EQ(match[1], current_) << "not below its TYPE: " << line;
      EXPECT_TRUE(samples.emplace(line.substr(0, line.rfind(' ')), match[6]).second)
          << "twice: " << line;
    } else {
      ADD_FAILURE() << "not in the format: " << line;
    }
  }

  std::set<std::string> helped_;
  std::string current_;
};

// One call of the reference over 300 tokens.
void run_once() {
  const SyntheticCase source(complete({.batch = 1, .h_q = 2}), {300}, {});
  const SyntheticMemory memory(source);
  const DenseDecode plan(source.problem(), {.kernel = "reference.dense_decode"});
  const std::unique_ptr<Device> cpu = open_device(kCpu);
  Call call(*cpu, plan, source.problem().d_v, memory.inputs(source));
  call.prepare();
  call.run();
}

TEST(Prometheus, TheTextIsInTheFormatAndAgreesWithTheCounters) {
  run_once();
  const Exposition text(prometheus_text(stats()));
  const std::string labels = "{operation=\"dense_decode\",kernel=\"reference.dense_decode\"";
  bool found = false;
  for (const seesaw_stats& row : stats()) {
    if (std::string(row.kernel) != "reference.dense_decode") {
      continue;
    }
    found = true;
    const auto number = [](uint64_t value) { return static_cast<double>(value); };
    EXPECT_EQ(text.value("seesaw_calls_total" + labels + ",function=\"run\",status=\"SEESAW_OK\"}"),
              number(row.calls[SEESAW_STATS_RUN][SEESAW_OK]));
    EXPECT_EQ(
        text.value("seesaw_calls_total" + labels + ",function=\"prepare\",status=\"SEESAW_OK\"}"),
        number(row.calls[SEESAW_STATS_PREPARE][SEESAW_OK]));
    EXPECT_NEAR(text.value("seesaw_call_seconds_total" + labels + ",function=\"run\"}"),
                number(row.nanoseconds[SEESAW_STATS_RUN]) * 1e-9, 1e-9);
    EXPECT_EQ(text.value("seesaw_kv_tokens_total" + labels + "}"), number(row.kv_tokens));
    EXPECT_EQ(text.value("seesaw_sequences_total" + labels + "}"), number(row.sequences));
    EXPECT_EQ(text.value("seesaw_plan_workspace_bytes_max" + labels + "}"),
              number(row.workspace_bytes));
    EXPECT_GE(row.kv_tokens, 300U);
  }
  EXPECT_TRUE(found);
  for (const auto& [name, type] : text.types) {
    EXPECT_EQ(name.ends_with("_total"), type == "counter") << name;
  }
  EXPECT_EQ(text.value("seesaw_build_info{version=\"" SEESAW_VERSION_STRING "\"}"), 1);
}

TEST(Prometheus, WhatTheHostCannotKnowIsLeftOut) {
  const Exposition text(prometheus_text(stats()));
  for (const auto& [sample, value] : text.samples) {
    const bool of_a_gpu = sample.find("kernel=\"sm") != std::string::npos;
    const bool of_none = sample.find("kernel=\"none\"") != std::string::npos;
    const bool of_lengths = sample.rfind("seesaw_kv_tokens", 0) == 0 ||
                            sample.rfind("seesaw_kv_bytes", 0) == 0 ||
                            sample.rfind("seesaw_schedule_", 0) == 0;
    EXPECT_FALSE(of_lengths && (of_a_gpu || of_none)) << sample;
    EXPECT_FALSE(of_none && sample.rfind("seesaw_call", 0) != 0) << sample;
  }
}

TEST(Prometheus, LabelsAreEscaped) { EXPECT_EQ(label_value("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\""); }

TEST(Prometheus, NumbersAreExact) {
  EXPECT_EQ(seconds_text(0), "0.000000000");
  EXPECT_EQ(seconds_text(12'000'000'345), "12.000000345");
  EXPECT_EQ(seconds_text(UINT64_MAX), "18446744073.709551615");
  std::vector<seesaw_stats> rows = stats();
  for (seesaw_stats& row : rows) {
    row.sequences = UINT64_MAX;
  }
  EXPECT_NE(prometheus_text(rows).find("} 18446744073709551615\n"), std::string::npos);
}

}  // namespace
}  // namespace seesaw::tools
