// The search on made-up machines, and the result file.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "error.hpp"
#include "seesaw/ops/dense_decode.h"
#include "tune/file.hpp"
#include "tune/search.hpp"

namespace seesaw::tools {
namespace {

// A machine whose speed is a function of two knobs, disturbed by noise, by a slow drift and by rare
// interruptions. Time passes only in samples.
class MadeUpMachine : public Tunable {
 public:
  double best_a = 4;          // the fastest value of knob a
  double gain = 0.5;          // how much of the time it saves against a value far from it
  double noise = 0;           // of a sample, relative
  double drift_a_sample = 0;  // everything gets slower
  bool b_does_nothing = false;
  int64_t samples = 0;
  double seconds = 0;
  std::set<std::string> sampled;

  std::string fingerprint(const Setting& setting) override {
    const int32_t b = setting.contains("b") && !b_does_nothing ? setting.at("b") : 0;
    return std::to_string(a_of(setting)) + "/" + std::to_string(b);
  }
  double sample_us(const Setting& setting) override {
    ++samples;
    sampled.insert(setting_text(setting));
    const double distance = std::abs(a_of(setting) - best_a) / best_a;
    double us = 100 * (1 - gain + gain * std::min(1.0, distance));
    us *= setting.contains("b") && !b_does_nothing ? 1.3 : 1.0;
    us *= 1 + drift_a_sample * static_cast<double>(samples);
    us *= 1 + noise * (2 * random_.next() - 1);
    us *= samples % 17 == 0 ? 3 : 1;  // somebody else had the machine
    seconds += us * 1e-6;
    return us;
  }
  void keep_only(const std::vector<Setting>&) override {}

 private:
  // A fixed stream of numbers in [0, 1).
  struct Stream {
    uint64_t state = 88172645463325252ULL;
    double next() {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      return static_cast<double>(state >> 11) * 0x1p-53;
    }
  };
  static double a_of(const Setting& setting) { return setting.contains("a") ? setting.at("a") : 1; }
  Stream random_;
};

const std::vector<Knob> kKnobs = {{"a", {1, 2, 3, 4, 5, 8, 16}}, {"b", {1, 2}}};

SearchResult find(MadeUpMachine& machine, double budget_seconds = 1, int64_t stop_after = -1) {
  return search(machine, kKnobs,
                {.budget_seconds = budget_seconds,
                 .elapsed_seconds = [&] { return machine.seconds; },
                 .stop = [&] { return stop_after >= 0 && machine.samples >= stop_after; },
                 .report = [](const std::string&) {}});
}

TEST(TuneSearch, FindsTheFastestSetting) {
  MadeUpMachine machine;
  const SearchResult result = find(machine);
  EXPECT_EQ(result.best, (Setting{{"a", 4}}));
  EXPECT_NEAR(result.speedup.median, 1.75, 1e-9);
  EXPECT_GT(result.wins, 0.9);
  EXPECT_LT(result.best_us.median, result.default_us.median);
}

TEST(TuneSearch, FindsItThroughNoiseAndDrift) {
  MadeUpMachine machine;
  machine.noise = 0.1;
  machine.drift_a_sample = 0.01;  // a later sample of the best is slower than an early default
  const SearchResult result = find(machine);
  EXPECT_EQ(result.best, (Setting{{"a", 4}}));
  EXPECT_NEAR(result.speedup.median, 1.75, 0.2);
}

TEST(TuneSearch, KeepsTheDefaultWhereNothingIsFaster) {
  MadeUpMachine machine;
  machine.best_a = 1;
  machine.noise = 0.05;
  const SearchResult result = find(machine);
  EXPECT_TRUE(result.best.empty()) << setting_text(result.best);
  EXPECT_EQ(result.best_us.median, result.default_us.median);
  EXPECT_GT(result.pairs, 0);
}

TEST(TuneSearch, KeepsTheDefaultWhereTheGainIsNoise) {
  MadeUpMachine machine;
  machine.gain = 0.01;  // one per cent
  machine.noise = 0.2;
  EXPECT_TRUE(find(machine).best.empty());
}

TEST(TuneSearch, SettingsThatDoTheSameAreMeasuredOnce) {
  MadeUpMachine machine;
  machine.b_does_nothing = true;
  find(machine);
  for (const std::string& setting : machine.sampled) {
    EXPECT_EQ(setting.find('b'), std::string::npos) << setting;
  }
}

TEST(TuneSearch, TheBudgetEndsIt) {
  MadeUpMachine machine;
  find(machine, 0.002);  // 20 samples of 100 us
  EXPECT_LT(machine.samples, 60);
}

TEST(TuneSearch, StoppedEarlyItKeepsWhatItHas) {
  for (const int64_t after : {0, 1, 10, 40, 70, 100}) {
    SCOPED_TRACE(after);
    MadeUpMachine machine;
    const SearchResult result = find(machine, 1, after);
    EXPECT_TRUE(result.stopped);
    EXPECT_GT(result.pairs, 0);
    EXPECT_LT(machine.samples, after + 20);
  }
  MadeUpMachine machine;  // long enough for the first knob
  EXPECT_EQ(find(machine, 1, 70).best, (Setting{{"a", 4}}));
}

class TuneFile : public ::testing::Test {
 protected:
  TuneFile()
      : path_((std::filesystem::temp_directory_path() / ("tune_test_" + std::to_string(getpid())))
                  .string()) {
    std::remove(path_.c_str());
  }
  ~TuneFile() override { std::remove(path_.c_str()); }

  nlohmann::ordered_json read() const {
    std::ifstream file(path_);
    return nlohmann::ordered_json::parse(file);
  }

  std::string path_;
};

TEST_F(TuneFile, EntriesOfOtherKeysStayAndTheSameKeysIsReplaced) {
  const nlohmann::ordered_json measured = {{"x", 1}};
  EXPECT_EQ(merge_entry(path_, R"({"device": "A"})", {{"num_workers", 1}}, measured).kept, 0);
  EXPECT_EQ(merge_entry(path_, R"({"device": "B"})", {}, measured).kept, 1);
  EXPECT_EQ(merge_entry(path_, R"({"device": "A"})", {{"num_workers", 2}}, measured).kept, 1);
  const nlohmann::ordered_json json = read();
  ASSERT_EQ(json["entries"].size(), 2U);
  EXPECT_EQ(json["entries"][0]["match"]["device"], "B");
  EXPECT_EQ(json["entries"][1]["set"]["num_workers"], 2);
  EXPECT_EQ(json["entries"][1]["measured"], measured);
  EXPECT_EQ(json["seesaw_version"], seesaw_version());
}

TEST_F(TuneFile, EntriesOfAnotherVersionGo) {
  std::ofstream(path_) << R"({"seesaw_tuning": 1, "seesaw_version": "0.0.1", "entries": [{}, {}]})";
  EXPECT_EQ(merge_entry(path_, R"({"device": "A"})", {}, {}).dropped, 2);
  EXPECT_EQ(read()["entries"].size(), 1U);
}

TEST_F(TuneFile, AFileOfSomethingElseIsNotOverwritten) {
  std::ofstream(path_) << "my notes";
  EXPECT_THROW(merge_entry(path_, R"({"device": "A"})", {}, {}), Failure);
  std::ostringstream text;
  text << std::ifstream(path_).rdbuf();
  EXPECT_EQ(text.str(), "my notes");
}

TEST(TuneText, IsWhatThePlannerReads) {
  const seesaw_dense_decode_problem problem{.batch = 1, .h_q = 128, .max_pages_per_sequence = 1};
  const DenseDecode standard(problem, {.num_threads = 2, .tuning = "none"});
  const std::string text =
      tuning_text(standard.details().tuning_key, {{"num_workers", 1}, {"chunk_tokens", 128}});
  const DenseDecode plan(problem, {.num_threads = 2, .tuning = text.c_str()});
  EXPECT_EQ(plan.details().tuned, 1) << plan.details().tuning;
  EXPECT_EQ(plan.number("num_workers"), 1);
  EXPECT_EQ(plan.number("chunk_tokens"), 128);
}

}  // namespace
}  // namespace seesaw::tools
