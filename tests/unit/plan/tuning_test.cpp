// Tuning files: what is read, what is refused, and which problems share an entry.
#include "engine/tuning_file.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace seesaw::split {
namespace {

DenseDecodeProblem problem_of(int64_t batch, int64_t pages) {
  DenseDecodeProblem problem;
  problem.batch = batch;
  problem.h_q = 16;
  problem.max_pages_per_sequence = pages;
  problem.num_threads = 2;
  return problem;
}

TuningKey key_of(int64_t batch, int64_t pages) {
  return tuning_key(problem_of(batch, pages), "a CPU", "cpu.dense_decode");
}

std::string entry(const std::string& key, const std::string& set) {
  return R"({"match": )" + key + R"(, "set": )" + set + "}";
}

std::string file(const std::string& entries) {
  return R"({"seesaw_tuning": 1, "seesaw_version": "0.1.0", "entries": [)" + entries + "]}";
}

TEST(TuningKey, BatchAndTokensAreRoundedUpToAPowerOfTwo) {
  EXPECT_EQ(key_of(5, 65), key_of(8, 128));
  EXPECT_EQ(key_of(5, 65).batch_class, 8);
  EXPECT_EQ(key_of(5, 65).tokens_class, 8192);
  EXPECT_NE(key_of(4, 65), key_of(5, 65));
  EXPECT_NE(key_of(5, 64), key_of(5, 65));
  EXPECT_EQ(key_of(0, 0).batch_class, 1);
}

TEST(TuningKey, EverythingElseHasToBeTheSame) {
  const TuningKey base = key_of(1, 1);
  const auto changed = [&](const std::function<void(DenseDecodeProblem&)>& change) {
    DenseDecodeProblem problem = problem_of(1, 1);
    change(problem);
    return tuning_key(problem, base.device, base.kernel);
  };
  EXPECT_NE(changed([](auto& p) { p.h_q = 17; }), base);
  EXPECT_NE(changed([](auto& p) { p.s_q = 2; }), base);
  EXPECT_NE(changed([](auto& p) { p.d_qk = 512; }), base);
  EXPECT_NE(changed([](auto& p) { p.kv_dtype = DType::kFloat32; }), base);
  EXPECT_NE(changed([](auto& p) { p.num_threads = 1; }), base);
  EXPECT_NE(tuning_key(problem_of(1, 1), "another CPU", base.kernel), base);
  EXPECT_NE(tuning_key(problem_of(1, 1), base.device, "reference.dense_decode"), base);
  EXPECT_EQ(changed([](auto& p) { p.mask = Mask::kCausal; }), base);
}

TEST(TuningFile, AnEntryComesBackAsItWasWritten) {
  const TuningKey key = key_of(3, 9);
  TuningTable table;
  const Status status =
      parse_tuning(file(entry(to_json(key), R"({"num_workers": 1, "chunk_tokens": 256})") + "," +
                        entry(to_json(key_of(64, 9)), "{}")),
                   "f", &table);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(table.version, "0.1.0");
  ASSERT_EQ(table.entries.size(), 2U);
  EXPECT_EQ(table.entries[0].key, key);
  EXPECT_EQ(table.entries[0].tuning, (Tuning{.num_workers = 1, .chunk_tokens = 256}));
  EXPECT_EQ(to_text(table.entries[0].tuning), "num_workers 1, chunk_tokens 256");
  EXPECT_EQ(table.entries[1].tuning, Tuning{});
  EXPECT_EQ(to_text(Tuning{}), "the kernel's own numbers");
}

TEST(TuningFile, WhatWasMeasuredIsNotLookedAt) {
  TuningTable table;
  EXPECT_TRUE(parse_tuning(file(R"({"match": )" + to_json(key_of(1, 1)) +
                                R"(, "set": {}, "measured": {"anything": [1, "two"]}})"),
                           "f", &table)
                  .ok());
}

TEST(TuningFile, DamageIsRefusedInWords) {
  const std::string key = to_json(key_of(1, 1));
  std::string half_key = key;
  half_key.replace(half_key.find("\"rows\":16,"), 10, "");
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
      {file(entry(half_key, "{}")), "no whole number \"rows\""},
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
        file(entry(to_json(key_of(1, 1)), R"({"num_workers": )" + lists + "}"))}) {
    TuningTable table;
    const Status status = parse_tuning(text, "f", &table);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.message().find("more than 8 deep"), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace seesaw::split
