// The Prometheus text: its grammar, its escapes, its numbers, its buffer.
#include "engine/prometheus.hpp"

#include <cstdint>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "support/decode_run.hpp"
#include "unit/api/expect_error.hpp"

namespace seesaw::testing {
namespace {

using engine::PrometheusWriter;

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

TEST(Prometheus, TheTextIsInTheFormatAndAgreesWithTheCounters) {
  const DecodeCase test_case({.seq_lens = {300}, .h_q = 2});
  run_case(test_case, {.kernel = "reference.dense_decode", .threads = 1});
  const Exposition text(stats_prometheus());
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
  const Exposition text(stats_prometheus());
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

TEST(Prometheus, LabelsAndHelpAreEscaped) {
  char buffer[64];
  PrometheusWriter writer(buffer, sizeof(buffer));
  writer.label_value("a\"b\\c\nd").text(" ").help("e\"f\\g\nh");
  writer.terminate();
  EXPECT_STREQ(buffer, "\"a\\\"b\\\\c\\nd\" e\"f\\\\g\\nh");
}

TEST(Prometheus, NumbersAreExact) {
  char buffer[256];
  PrometheusWriter writer(buffer, sizeof(buffer));
  writer.number(0).text(" ").number(UINT64_MAX).text(" ");
  writer.seconds(0).text(" ").seconds(12'000'000'345).text(" ").seconds(UINT64_MAX);
  writer.terminate();
  EXPECT_STREQ(buffer, "0 18446744073709551615 0.000000000 12.000000345 18446744073.709551615");
}

TEST(Prometheus, ASizeThatSufficesForEver) {
  uint64_t needed = 0;
  ASSERT_EQ(seesaw_stats_prometheus(nullptr, 0, &needed), SEESAW_OK);
  std::vector<seesaw_stats> rows = stats();
  for (seesaw_stats& row : rows) {
    std::fill(&row.calls[0][0], &row.calls[0][0] + sizeof(row.calls) / sizeof(uint64_t),
              UINT64_MAX);
    std::fill(std::begin(row.nanoseconds), std::end(row.nanoseconds), UINT64_MAX);
    row.sequences = row.tensor_bytes = row.kv_bytes_planned = row.kv_tokens = UINT64_MAX;
    row.kv_bytes = row.pieces = row.split_sequences = row.partials = UINT64_MAX;
    row.plans = row.workspace_bytes = UINT64_MAX;
  }
  std::vector<char> buffer(needed, 'x');
  PrometheusWriter writer(buffer.data(), buffer.size());
  engine::write_prometheus(rows, &writer);
  writer.terminate();
  EXPECT_EQ(writer.most_bytes(), needed);
  const std::string text(buffer.data());
  EXPECT_LT(text.size(), needed);
  EXPECT_EQ(text.back(), '\n');  // nothing was cut off
  const Exposition parsed(text);
}

TEST(Prometheus, ASmallerBufferIsRefusedAndNotOverrun) {
  uint64_t needed = 0;
  ASSERT_EQ(seesaw_stats_prometheus(nullptr, 0, &needed), SEESAW_OK);
  for (const uint64_t size : {uint64_t{1}, uint64_t{100}, needed - 1}) {
    std::vector<char> buffer(size + 16, '\x5A');
    uint64_t asked = 0;
    expect_refusal(SEESAW_INVALID_ARGUMENT, "size = " + std::to_string(size),
                   seesaw_stats_prometheus(buffer.data(), size, &asked));
    EXPECT_EQ(asked, needed);
    EXPECT_EQ(buffer[0], '\0');
    for (size_t i = size; i < buffer.size(); ++i) {
      ASSERT_EQ(buffer[i], '\x5A') << i;
    }
  }
}

}  // namespace
}  // namespace seesaw::testing
