// Tuning files: what is read, what is refused, and which problems share an entry.
#include "engine/tuning_file.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/read.hpp"
#include "ops/dense_decode/operation.hpp"

namespace seesaw::engine {
namespace {

using Problem = seesaw_dense_decode_problem;

Problem problem_of(int64_t batch, int64_t pages) {
  return {.batch = batch, .h_q = 16, .max_pages_per_sequence = pages};
}

TuningKey key_for(const Problem& problem, int32_t threads = 2, const char* device = "a CPU",
                  const char* kernel = "cpu.dense_decode") {
  ProblemBytes bytes;
  const Status status = read_problem(dense_decode::kOperation, &problem, &bytes);
  EXPECT_TRUE(status.ok()) << status.message();
  Options options;
  options.num_threads = threads;
  return tuning_key(dense_decode::kOperation, bytes.data, options, device, kernel);
}

std::string key_of(int64_t batch, int64_t pages) { return key_for(problem_of(batch, pages)).text; }

std::string entry(const std::string& key, const std::string& set) {
  return R"({"match": )" + key + R"(, "set": )" + set + "}";
}

std::string file(const std::string& entries) {
  return R"({"seesaw_tuning": 1, "seesaw_version": "0.1.0", "entries": [)" + entries + "]}";
}

TEST(TuningKey, MaximaAreRoundedUpToAPowerOfTwo) {
  EXPECT_EQ(key_of(5, 65), key_of(8, 128));
  EXPECT_NE(key_of(5, 65).find("\"batch_class\":8"), std::string::npos) << key_of(5, 65);
  EXPECT_NE(key_of(5, 65).find("\"max_pages_per_sequence_class\":128"), std::string::npos);
  EXPECT_NE(key_of(4, 65), key_of(5, 65));
  EXPECT_NE(key_of(5, 64), key_of(5, 65));
}

TEST(TuningKey, EverythingElseHasToBeTheSame) {
  const TuningKey base = key_for(problem_of(1, 1));
  const auto changed = [&](const std::function<void(Problem&)>& change) {
    Problem problem = problem_of(1, 1);
    change(problem);
    return key_for(problem).match;
  };
  EXPECT_NE(changed([](auto& p) { p.h_q = 17; }), base.match);
  EXPECT_NE(changed([](auto& p) { p.s_q = 2; }), base.match);
  EXPECT_NE(changed([](auto& p) { p.d_qk = 512; }), base.match);
  EXPECT_NE(changed([](auto& p) { p.kv_format = SEESAW_FORMAT_FLOAT32; }), base.match);
  EXPECT_NE(key_for(problem_of(1, 1), 1).match, base.match);
  EXPECT_NE(key_for(problem_of(1, 1), 2, "another CPU").match, base.match);
  EXPECT_NE(key_for(problem_of(1, 1), 2, "a CPU", "reference.dense_decode").match, base.match);
  EXPECT_EQ(changed([](auto& p) { p.causal = 1; }), base.match);
}

TEST(TuningFile, AnEntryComesBackAsItWasWritten) {
  const TuningKey key = key_for(problem_of(3, 9));
  TuningTable table;
  const Status status =
      parse_tuning(file(entry(key.text, R"({"num_workers": 1, "chunk_tokens": 256})") + "," +
                        entry(key_of(64, 9), "{}")),
                   "f", &table);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(table.version, "0.1.0");
  ASSERT_EQ(table.entries.size(), 2U);
  EXPECT_EQ(table.entries[0].key.match, key.match);
  EXPECT_EQ(table.entries[0].key.device, "a CPU");
  EXPECT_EQ(to_text(table.entries[0]), "chunk_tokens 256, num_workers 1");
  EXPECT_TRUE(table.entries[1].values.empty());
  EXPECT_EQ(to_text(table.entries[1]), "the kernel's own numbers");
}

TEST(TuningFile, WhatWasMeasuredIsNotLookedAt) {
  TuningTable table;
  EXPECT_TRUE(parse_tuning(file(R"({"match": )" + key_of(1, 1) +
                                R"(, "set": {}, "measured": {"anything": [1, "two"]}})"),
                           "f", &table)
                  .ok());
}

TEST(TuningFile, DamageIsRefusedInWords) {
  const std::string key = key_of(1, 1);
  std::string half_key = key;
  half_key.replace(half_key.find("\"h_q\":16,"), 9, "");
  std::string more_key = key;
  more_key.replace(more_key.rfind('}'), 1, ",\"colour\":1}");
  const struct {
    std::string text;
    const char* words;
  } cases[] = {
      {"", "no JSON object"},
      {"[1]", "no JSON object"},
      {R"({"seesaw_tuning": 1)", "no JSON object"},
      {R"({"seesaw_tuning": 2, "seesaw_version": "0.1.0", "entries": []})", "seesaw_tuning = 2"},
      {R"({"seesaw_tuning": 1, "entries": []})", "no seesaw_version"},
      {R"({"seesaw_tuning": 1, "seesaw_version": "0.1.0"})", "no list \"entries\""},
      {R"({"seesaw_tuning": 1, "seesaw_version": "0.1.0", "entries": [], "x": 1})",
       "unknown name \"x\""},
      {file("7"), "entry 0: 7"},
      {file(entry(half_key, "{}")), "no whole number \"h_q\""},
      {file(entry(more_key, "{}")), "unknown names"},
      {file(entry(key, R"({"speed": 9})")), "unknown name \"speed\""},
      {file(entry(key, R"({"num_workers": 0})")), "num_workers = 0"},
      {file(entry(key, R"({"num_workers": 1.5})")), "num_workers = 1.5"},
      {file(entry(key, R"({"num_workers": "2"})")), "num_workers = \"2\""},
      {file(entry(key, R"({"num_workers": 99999999999999999999})")), "num_workers = "},
      {file(entry(key, R"({"chunk_tokens": 100})")), "chunk_tokens = 100"},
      {file(entry(key, R"({"chunk_tokens": 8192})")), "chunk_tokens = 8192"},
      {file(entry(key, R"({"split_cost_tiles": -1})")), "split_cost_tiles = -1"},
      {file(entry(key, "{}") + "," + entry(key, "{}")), "entry 1: a second entry"},
  };
  for (const auto& item : cases) {
    SCOPED_TRACE(item.text);
    TuningTable table;
    const Status status = parse_tuning(item.text, "some/file", &table);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.message().rfind("tuning_file: some/file: ", 0), 0U) << status.message();
    EXPECT_NE(status.message().find(item.words), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(", allowed: "), std::string::npos) << status.message();
  }
}

TEST(TuningFile, DeepNestingIsRefusedNotFollowed) {
  const size_t kDeep = 1'000'000;
  const std::string lists = std::string(kDeep, '[') + std::string(kDeep, ']');
  std::string objects;
  for (size_t i = 0; i < kDeep; ++i) objects += R"({"a":)";
  objects += "1" + std::string(kDeep, '}');
  for (const std::string& text :
       {lists, R"({"seesaw_tuning": )" + lists + "}", file(lists), file(objects),
        file(entry(key_of(1, 1), R"({"num_workers": )" + lists + "}"))}) {
    TuningTable table;
    const Status status = parse_tuning(text, "f", &table);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.message().find("more than 8 deep"), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace seesaw::engine
