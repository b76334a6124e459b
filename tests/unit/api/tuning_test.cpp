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

#include "support/decode_case.hpp"
#include "support/guarded_buffer.hpp"
#include "unit/api/expect_error.hpp"

namespace seesaw::testing {
namespace {

const DecodeSpec kSpec{.seq_lens = {700, 64, 0, 1300}, .s_q = 2, .h_q = 24};

// What plan_info says, with its texts copied: they live as long as the plan.
struct Info {
  explicit Info(const DenseDecodeDescriptor& descriptor) {
    const DenseDecode plan(descriptor);
    numbers = plan.info();
    tuning = numbers.tuning;
    key = numbers.tuning_key;
  }
  seesaw_dense_decode_plan_info numbers{};
  std::string tuning;
  std::string key;
};

std::string file_text(const std::string& key, const std::string& set,
                      const std::string& version = seesaw_version()) {
  return R"({"seesaw_tuning": 1, "seesaw_version": ")" + version + R"(", "entries": [{"match": )" +
         key + R"(, "set": )" + set + "}]}";
}

class Tuning : public ::testing::Test {
 protected:
  Tuning() : case_(kSpec) {
    unsetenv("SEESAW_TUNE_FILE");
    descriptor_ = case_.descriptor("cpu.dense_decode", 2);
  }
  ~Tuning() override { unsetenv("SEESAW_TUNE_FILE"); }

  std::string key() const { return Info(descriptor_).key; }
  DenseDecodeDescriptor with(const std::string& tuning) const {
    DenseDecodeDescriptor descriptor = descriptor_;
    descriptor.tuning = tuning;
    return descriptor;
  }
  Info tuned(const std::string& set) const { return Info(with(file_text(key(), set))); }

  seesaw_status try_plan(const std::string& tuning) const {
    const DenseDecodeDescriptor descriptor = with(tuning);
    const seesaw_dense_decode_problem problem = descriptor.to_c();
    seesaw_dense_decode_plan* plan = nullptr;
    const seesaw_status status = seesaw_dense_decode_plan_create(&problem, &plan);
    seesaw_dense_decode_plan_destroy(plan);
    return status;
  }

  // out and lse, and the spans if `spans` is given.
  std::vector<unsigned char> results(const DenseDecodeDescriptor& descriptor,
                                     std::vector<seesaw_trace_span>* spans = nullptr) const {
    const DenseDecode plan(descriptor);
    GuardedBuffer schedule(plan.schedule_bytes());
    GuardedBuffer workspace(plan.workspace_bytes());
    GuardedBuffer out(case_.out_bytes());
    GuardedBuffer lse(case_.lse_bytes());
    DenseDecodeTensors call = case_.inputs();
    plan.schedule(call.seq_lens, schedule.data(), schedule.size());
    call.out = case_.out_tensor(out.data());
    call.lse = case_.lse_tensor(lse.data());
    call.schedule = schedule.data();
    call.schedule_bytes = schedule.size();
    call.workspace = workspace.data();
    call.workspace_bytes = workspace.size();
    if (spans == nullptr) {
      plan.run(call);
    } else {
      *spans = plan.trace(call, 1 << 16);
    }
    std::vector<unsigned char> bytes(out.data(), out.data() + out.size());
    bytes.insert(bytes.end(), lse.data(), lse.data() + lse.size());
    return bytes;
  }

  DecodeCase case_;
  DenseDecodeDescriptor descriptor_;
};

TEST_F(Tuning, WithoutAFileThePlanIsTheKernels) {
  const Info info(descriptor_);
  EXPECT_EQ(info.numbers.tuned, 0);
  EXPECT_EQ(info.tuning, "no tuning file");
  EXPECT_EQ(info.numbers.num_workers, 2);
  EXPECT_GT(info.numbers.chunk_tokens, 0);
}

TEST_F(Tuning, AMatchingEntryIsUsed) {
  const Info info = tuned(
      R"({"num_workers": 1, "chunk_tokens": 320, "piece_cost_tiles": 5, "split_cost_tiles": 7})");
  EXPECT_EQ(info.numbers.tuned, 1);
  EXPECT_EQ(info.numbers.num_workers, 1);
  EXPECT_EQ(info.numbers.chunk_tokens, 320);
  EXPECT_EQ(info.numbers.piece_cost_tiles, 5);
  EXPECT_EQ(info.numbers.split_cost_tiles, 7);
  EXPECT_NE(info.tuning.find("num_workers 1, piece_cost_tiles 5"), std::string::npos)
      << info.tuning;
  EXPECT_EQ(info.key, key());  // tuning does not change what a problem is
}

TEST_F(Tuning, OtherDevicesKernelsShapesAndVersionsDoNotUseIt) {
  const Info plain(descriptor_);
  const auto expect_unused = [&](const std::string& text, const std::string& words) {
    const Info info(with(text));
    EXPECT_EQ(info.numbers.tuned, 0);
    EXPECT_EQ(info.numbers.num_workers, plain.numbers.num_workers);
    EXPECT_EQ(info.numbers.chunk_tokens, plain.numbers.chunk_tokens);
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
  expect_unused(changed(R"("rows":48)", R"("rows":47)"), "it has 1 entries for cpu.dense_decode");
  expect_unused(file_text(key(), set, "0.0.9"), "it was measured with version 0.0.9");
}

TEST_F(Tuning, BatchInvariantPlansNeverUseIt) {
  descriptor_.flags |= SEESAW_BATCH_INVARIANT;
  const Info plain(descriptor_);
  const Info info = tuned(R"({"num_workers": 1, "chunk_tokens": 512})");
  EXPECT_EQ(info.numbers.tuned, 0);
  EXPECT_NE(info.tuning.find("batch-invariant"), std::string::npos) << info.tuning;
  EXPECT_EQ(info.numbers.chunk_tokens, plain.numbers.chunk_tokens);
  EXPECT_EQ(info.numbers.fixed_split_tiles, plain.numbers.fixed_split_tiles);
  EXPECT_EQ(results(with(file_text(key(), R"({"num_workers": 1, "chunk_tokens": 512})"))),
            results(descriptor_));
}

TEST_F(Tuning, EveryChunkGivesTheSameResultsAsFarAsRoundingGoes) {
  const std::vector<unsigned char> standard = results(descriptor_);
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
      const DenseDecodeDescriptor descriptor = with(file_text(key(), set));
      const std::vector<unsigned char> bytes = results(descriptor);
      EXPECT_EQ(bytes, results(descriptor));  // the same bits again
      const std::vector<float> got = out_of(bytes);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected[i], 8e-4 + std::abs(expected[i]) / 64) << i;
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
  EXPECT_EQ(Info(descriptor_).numbers.num_workers, 1);
  EXPECT_EQ(Info(with("none")).numbers.tuned, 0);  // the caller's word counts more
  write(file_text(key(), R"({"num_workers": 1, "chunk_tokens": 64})"));
  EXPECT_EQ(Info(descriptor_).numbers.chunk_tokens, 64);
  std::remove(path.c_str());
  expect_refusal(SEESAW_INVALID_ARGUMENT, "No such file", try_plan(""));
}

TEST_F(Tuning, ATracedRunGivesTheSameBitsAndCoversTheWork) {
  std::vector<seesaw_trace_span> spans;
  EXPECT_EQ(results(descriptor_, &spans), results(descriptor_));
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
  const DenseDecode plan(tiny.descriptor("reference.dense_decode", 1));
  AlignedBuffer schedule(plan.schedule_bytes());
  AlignedBuffer workspace(plan.workspace_bytes());
  GuardedBuffer out(tiny.out_bytes());
  DenseDecodeTensors call = tiny.inputs();
  plan.schedule(call.seq_lens, schedule.data(), schedule.size());
  call.out = tiny.out_tensor(out.data());
  call.schedule = schedule.data();
  call.schedule_bytes = schedule.size();
  call.workspace = workspace.data();
  call.workspace_bytes = workspace.size();
  try {
    plan.trace(call, 16);
    FAIL() << "traced";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SEESAW_NOT_SUPPORTED);
    EXPECT_TRUE(has_four_parts(error.what()));
  }
}

}  // namespace
}  // namespace seesaw::testing
