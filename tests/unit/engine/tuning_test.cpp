// Plans with a tuning: used where it was measured, nowhere else, and never at the cost of results.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lab/errors.hpp"
#include "support/host_call.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

const DecodeSpec kSpec{.seq_lens = {700, 64, 0, 1300}, .s_q = 2, .h_q = 24};

// What a plan says, with its texts copied: they live as long as the plan.
struct Info {
  explicit Info(const DenseDecode& plan)
      : tuned(plan.details().tuned),
        tuning(plan.details().tuning),
        key(plan.details().tuning_key),
        num_workers(plan.number("num_workers")),
        chunk_tokens(plan.number("chunk_tokens")),
        piece_cost_tiles(plan.number("piece_cost_tiles")),
        split_cost_tiles(plan.number("split_cost_tiles")),
        fixed_split_tiles(plan.number("fixed_split_tiles")) {}
  int32_t tuned;
  std::string tuning;
  std::string key;
  int64_t num_workers;
  int64_t chunk_tokens;
  int64_t piece_cost_tiles;
  int64_t split_cost_tiles;
  int64_t fixed_split_tiles;
};

std::string file_text(const std::string& key, const std::string& set,
                      const std::string& version = seesaw_version()) {
  return R"({"seesaw_tuning": 1, "seesaw_version": ")" + version + R"(", "entries": [{"match": )" +
         key + R"(, "set": )" + set + "}]}";
}

class Tuning : public ::testing::Test {
 protected:
  Tuning() : case_(kSpec) { unsetenv("SEESAW_TUNE_FILE"); }
  ~Tuning() override { unsetenv("SEESAW_TUNE_FILE"); }

  // Options with this tuning, which must outlive them; empty: none given.
  seesaw_options with(const std::string& tuning) const {
    seesaw_options options = case_.options(kKernel, 2);
    options.tuning = tuning.empty() ? nullptr : tuning.c_str();
    return options;
  }
  Info info(const std::string& tuning = "") const {
    return Info(DenseDecode(case_.problem(), with(tuning)));
  }
  std::string key() const { return info().key; }
  Info tuned(const std::string& set) const { return info(file_text(key(), set)); }

  seesaw_status try_plan(const std::string& tuning) const {
    const seesaw_dense_decode_problem problem = case_.problem();
    const seesaw_options options = with(tuning);
    seesaw_plan* plan = nullptr;
    const seesaw_status status = seesaw_dense_decode_plan_create(&problem, &options, &plan);
    seesaw_plan_destroy(plan);
    return status;
  }

  // out and lse, and the spans if `spans` is given.
  std::vector<unsigned char> results(const std::string& tuning = "",
                                     std::vector<seesaw_trace_span>* spans = nullptr) const {
    const HostCall call(case_, with(tuning));
    call.prepare();
    if (spans == nullptr) {
      call.run();
    } else {
      *spans = call.decode.trace(call.args, call.call, 1 << 16);
    }
    std::vector<unsigned char> bytes(call.out.data(), call.out.data() + call.out.size());
    bytes.insert(bytes.end(), call.lse.data(), call.lse.data() + call.lse.size());
    return bytes;
  }

  static constexpr const char* kKernel = "cpu.dense_decode";
  DecodeCase case_;
};

TEST_F(Tuning, WithoutAFileThePlanIsTheKernels) {
  const Info info = this->info();
  EXPECT_EQ(info.tuned, 0);
  EXPECT_EQ(info.tuning, "no tuning file");
  EXPECT_EQ(info.num_workers, 2);
  EXPECT_GT(info.chunk_tokens, 0);
}

TEST_F(Tuning, AMatchingEntryIsUsed) {
  const Info info = tuned(
      R"({"num_workers": 1, "chunk_tokens": 320, "piece_cost_tiles": 5, "split_cost_tiles": 7})");
  EXPECT_EQ(info.tuned, 1);
  EXPECT_EQ(info.num_workers, 1);
  EXPECT_EQ(info.chunk_tokens, 320);
  EXPECT_EQ(info.piece_cost_tiles, 5);
  EXPECT_EQ(info.split_cost_tiles, 7);
  EXPECT_NE(info.tuning.find("num_workers 1, piece_cost_tiles 5"), std::string::npos)
      << info.tuning;
  EXPECT_EQ(info.key, key());  // tuning does not change what a problem is
}

TEST_F(Tuning, OtherDevicesKernelsShapesAndVersionsDoNotUseIt) {
  const Info plain = info();
  const auto expect_unused = [&](const std::string& text, const std::string& words) {
    const Info info = this->info(text);
    EXPECT_EQ(info.tuned, 0);
    EXPECT_EQ(info.num_workers, plain.num_workers);
    EXPECT_EQ(info.chunk_tokens, plain.chunk_tokens);
    EXPECT_NE(info.tuning.find("not used, " + words), std::string::npos) << info.tuning;
  };
  const std::string set = R"({"num_workers": 1, "chunk_tokens": 512})";
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string other = key();
    const size_t at = other.find(from);
    EXPECT_NE(at, std::string::npos) << other;
    return file_text(other.replace(at, from.size(), to), set);
  };
  expect_unused(changed(R"("device":")", R"("device":"NVIDIA )"),
                "none of its 1 entries is for this device");
  expect_unused(changed("cpu.dense_decode", "gpu.dense_decode"), "it has no entry for cpu");
  expect_unused(changed(R"("h_q":24)", R"("h_q":23)"), "it has 1 entries for cpu.dense_decode");
  expect_unused(file_text(key(), set, "0.0.9"), "it was measured with version 0.0.9");
}

TEST_F(Tuning, BatchInvariantPlansNeverUseIt) {
  case_ =
      DecodeCase({.seq_lens = {700, 64, 0, 1300}, .s_q = 2, .h_q = 24, .batch_invariant = true});
  const Info plain = info();
  const Info info = tuned(R"({"num_workers": 1, "chunk_tokens": 512})");
  EXPECT_EQ(info.tuned, 0);
  EXPECT_NE(info.tuning.find("batch-invariant"), std::string::npos) << info.tuning;
  EXPECT_EQ(info.chunk_tokens, plain.chunk_tokens);
  EXPECT_EQ(info.fixed_split_tiles, plain.fixed_split_tiles);
  EXPECT_EQ(results(file_text(key(), R"({"num_workers": 1, "chunk_tokens": 512})")), results());
}

TEST_F(Tuning, EveryChunkGivesTheSameResultsAsFarAsRoundingGoes) {
  constexpr lab::FlashMlaSuite kSuite;
  const std::vector<unsigned char> standard = results();
  const auto out_of = [&](const std::vector<unsigned char>& bytes) {
    std::vector<float> values;
    for (size_t i = 0; i < case_.out_bytes(); i += 2) {
      const uint32_t bits = static_cast<uint32_t>(bytes[i] | (bytes[i + 1] << 8)) << 16;
      float value = 0;
      std::memcpy(&value, &bits, sizeof(value));
      values.push_back(value);
    }
    return values;
  };
  const std::vector<float> expected = out_of(standard);
  for (const int chunk : {64, 128, 192, 256, 448, 1024, 4096}) {
    for (const int workers : {1, 2}) {
      SCOPED_TRACE(chunk);
      const std::string set = R"({"chunk_tokens": )" + std::to_string(chunk) +
                              R"(, "num_workers": )" + std::to_string(workers) + "}";
      const std::string tuning = file_text(key(), set);
      const std::vector<unsigned char> bytes = results(tuning);
      EXPECT_EQ(bytes, results(tuning));  // the same bits again
      const std::vector<float> got = out_of(bytes);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected[i],
                    kSuite.out_absolute + kSuite.out_relative * std::abs(expected[i]))
            << i;
      }
    }
  }
}

TEST_F(Tuning, MoreWorkersThanTheProblemHasAreRefused) {
  expect_refusal(SEESAW_INVALID_ARGUMENT, "num_workers = 3",
                 try_plan(file_text(key(), R"({"num_workers": 3})")));
}

TEST_F(Tuning, FilesAreFoundReadAndReadAgainWhenTheyChange) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("seesaw_tuning_" + std::to_string(getpid())))
          .string();
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  expect_refusal(SEESAW_INVALID_ARGUMENT, "No such file", try_plan(path));
  write("{ damaged");
  expect_refusal(SEESAW_INVALID_ARGUMENT, path + ": text that is no JSON", try_plan(path));

  write(file_text(key(), R"({"num_workers": 1})"));
  ASSERT_EQ(setenv("SEESAW_TUNE_FILE", path.c_str(), 1), 0);
  EXPECT_EQ(info().num_workers, 1);
  EXPECT_EQ(info("none").tuned, 0);  // the caller's word counts more
  write(file_text(key(), R"({"num_workers": 1, "chunk_tokens": 64})"));
  EXPECT_EQ(info().chunk_tokens, 64);
  std::remove(path.c_str());
  expect_refusal(SEESAW_INVALID_ARGUMENT, "No such file", try_plan(""));
}

TEST_F(Tuning, ATracedRunGivesTheSameBitsAndCoversTheWork) {
  std::vector<seesaw_trace_span> spans;
  EXPECT_EQ(results("", &spans), results());
  std::vector<std::string> steps;
  for (size_t i = 0; i < spans.size(); ++i) {
    const seesaw_trace_span& span = spans[i];
    steps.emplace_back(span.step);
    EXPECT_LE(0, span.begin_us);
    EXPECT_LE(span.begin_us, span.end_us);
    EXPECT_LT(span.sequence, 4);
    if (i > 0 && spans[i - 1].worker == span.worker) {
      EXPECT_LE(spans[i - 1].end_us, span.begin_us) << span.step;
    } else if (i > 0) {
      EXPECT_LT(spans[i - 1].worker, span.worker);
    }
  }
  for (const char* step : {"query", "scores", "softmax", "accumulate", "store", "wait"}) {
    EXPECT_NE(std::find(steps.begin(), steps.end(), step), steps.end()) << step;
  }
}

TEST_F(Tuning, AKernelWithoutATraceSaysSo) {
  const DecodeCase tiny({.seq_lens = {3}, .h_q = 2});
  const HostCall call(tiny, tiny.options("reference.dense_decode", 1));
  call.prepare();
  try {
    call.decode.trace(call.args, call.call, 16);
    FAIL() << "traced";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SEESAW_NOT_SUPPORTED);
    EXPECT_TRUE(has_four_parts(error.what()));
  }
}

}  // namespace
}  // namespace seesaw::testing
