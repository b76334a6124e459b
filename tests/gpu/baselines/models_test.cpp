// Every model on the GPU, through the C ABI, against the same model in plain loops, sums in double:
// types, shapes with nothing round about them, caches, masks, graphs, streams.
#include <gtest/gtest.h>

#include <future>

#include "model_run.hpp"

namespace seesaw::baselines::gpu_test {
namespace {

constexpr int32_t kModels[] = {SEESAW_BASELINE_MHA, SEESAW_BASELINE_TRADITIONAL_MLA,
                               SEESAW_BASELINE_CHUNKED_MLA, SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED,
                               SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED};
constexpr int32_t kTypes[] = {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16};

bool is_deepseek(int32_t model) { return model >= SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED; }

// Sizes that are whole multiples of 16 bytes, or nothing round.
enum class Sizes { kRound, kOdd };

ModelCase make_case(int32_t model, int32_t dtype, Sizes sizes) {
  const bool round = sizes == Sizes::kRound;
  ModelCase c;
  c.problem.model = model;
  c.problem.dtype = dtype;
  c.problem.batch = 2;
  c.problem.tokens = 5;
  c.problem.num_heads = round ? 4 : 3;
  c.problem.d_model = round ? 64 : 45;
  c.problem.chunk_size = 2;
  if (is_deepseek(model)) {
    c.problem.d_latent = round ? 64 : 37;
    c.problem.d_nope = round ? 32 : 13;
    c.problem.d_rope = round ? 16 : 6;
    c.problem.d_v = round ? 32 : 11;
  } else {
    c.problem.head_dim = round ? 16 : 15;
    c.problem.d_latent = round ? 32 : 19;
  }
  return c;
}

void expect_right(const ModelCase& c) {
  ModelRun run(c);
  ASSERT_EQ(run.run(), "") << c.name();
  ASSERT_EQ(run.verdict(), "") << c.name();
}

class EveryModel : public testing::TestWithParam<int32_t> {};

TEST_P(EveryModel, QuickWithoutACache) {
  for (const int32_t dtype : kTypes) {
    for (const Sizes sizes : {Sizes::kRound, Sizes::kOdd}) {
      ModelCase c = make_case(GetParam(), dtype, sizes);
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
      c.problem.flags = SEESAW_BASELINE_CAUSAL | SEESAW_BASELINE_BIAS;
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
    }
  }
}

TEST_P(EveryModel, EveryPastOfAPlan) {
  for (const int32_t dtype : kTypes) {
    for (const Sizes sizes : {Sizes::kRound, Sizes::kOdd}) {
      ModelCase c = make_case(GetParam(), dtype, sizes);
      c.problem.flags = SEESAW_BASELINE_CAUSAL;
      c.problem.cache_capacity = 75;
      for (const int64_t past : {0, 1, 3, 11, 27, 58, 59, 67, 70}) {
        c.past = past;
        ASSERT_NO_FATAL_FAILURE(expect_right(c));
      }
    }
  }
}

TEST_P(EveryModel, QuickOneTokenAtATime) {
  for (const int32_t dtype : kTypes) {
    ModelCase c = make_case(GetParam(), dtype, Sizes::kRound);
    c.problem.tokens = 1;
    c.problem.cache_capacity = 40;
    for (const int64_t batch : {1, 7}) {
      c.problem.batch = batch;
      c.past = 32;
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
      c.past = 0;
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
    }
  }
}

TEST_P(EveryModel, QuickMasks) {
  const bool of_heads = GetParam() == SEESAW_BASELINE_MHA || is_deepseek(GetParam());
  for (const int32_t dtype : kTypes) {
    ModelCase c = make_case(GetParam(), dtype, Sizes::kOdd);
    c.problem.cache_capacity = 24;
    c.past = 17;
    c.problem.flags = SEESAW_BASELINE_BIAS;
    c.mask = MaskOf::kSequences;
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
    c.problem.flags |= SEESAW_BASELINE_CAUSAL;
    c.mask = of_heads ? MaskOf::kHeads : MaskOf::kSequences;
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
  }
}

TEST_P(EveryModel, UnalignedAddresses) {
  for (const int32_t dtype : kTypes) {
    for (const int64_t offset : {1, 2, 3, 4}) {
      ModelCase c = make_case(GetParam(), dtype, Sizes::kRound);
      c.problem.flags = SEESAW_BASELINE_BIAS;
      c.problem.cache_capacity = 32;
      c.past = 11;
      c.offset = offset;
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
    }
  }
}

// Larger, where cuBLASLt has other algorithms.
TEST_P(EveryModel, LargerSizes) {
  for (const int32_t dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
    ModelCase c = make_case(GetParam(), dtype, Sizes::kRound);
    c.problem.tokens = 40;
    c.problem.num_heads = 4;
    c.problem.d_model = 256;
    c.problem.chunk_size = 32;
    c.problem.cache_capacity = 300;
    c.problem.flags = SEESAW_BASELINE_CAUSAL | SEESAW_BASELINE_BIAS;
    if (is_deepseek(GetParam())) {
      c.problem.d_latent = 512;
      c.problem.d_nope = 128;
      c.problem.d_rope = 64;
      c.problem.d_v = 128;
      c.problem.d_q_latent = 192;
    } else {
      c.problem.head_dim = 64;
      c.problem.d_latent = 128;
    }
    c.past = 201;
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
  }
}

// Captured before the plan ever ran: nothing in a run may allocate or wait, not even the first
// time.
TEST_P(EveryModel, QuickReplaysAsAGraph) {
  ModelCase c = make_case(GetParam(), SEESAW_BFLOAT16, Sizes::kRound);
  c.problem.tokens = 3;
  c.problem.flags = SEESAW_BASELINE_BIAS;
  c.problem.cache_capacity = 90;
  c.past = 50;
  ModelRun run(c);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  must(cudaStreamBeginCapture(run.stream().get(), cudaStreamCaptureModeThreadLocal), "capture");
  EXPECT_EQ(run.run(), "");
  must(cudaStreamEndCapture(run.stream().get(), &graph), "end of capture");
  must(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  for (uint64_t seed = 2; seed < 5; ++seed) {
    run.refill(seed);
    must(cudaGraphLaunch(executable, run.stream().get()), "cudaGraphLaunch");
    EXPECT_EQ(run.verdict(), "") << seed;
    const std::vector<uint8_t> replayed = run.out_bytes();
    run.refill(seed);
    EXPECT_EQ(run.run(), "");
    EXPECT_EQ(run.out_bytes(), replayed);
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

// One plan, a thread and a stream and a workspace each.
TEST_P(EveryModel, TwoThreadsGiveTheBitsOfOne) {
  ModelCase c = make_case(GetParam(), SEESAW_FLOAT16, Sizes::kRound);
  c.problem.tokens = 40;
  c.problem.cache_capacity = 200;
  c.past = 130;
  ModelRun first(c);
  c.past = 77;
  ModelRun second(c, &first);
  ModelRun* runs[] = {&first, &second};
  std::vector<uint8_t> alone[2];
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(runs[i]->run(), "");
    ASSERT_EQ(runs[i]->verdict(), "");
    alone[i] = runs[i]->out_bytes();
  }
  const auto repeat = [](ModelRun* run) {
    std::string failures;
    for (int i = 0; i < 50; ++i) {
      failures += run->run();
    }
    return failures;
  };
  std::future<std::string> other = std::async(std::launch::async, repeat, &second);
  EXPECT_EQ(repeat(&first), "");
  EXPECT_EQ(other.get(), "");
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(runs[i]->out_bytes(), alone[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Baselines, EveryModel, testing::ValuesIn(kModels), [](const auto& model) {
  return std::string(seesaw_baselines_model_name(model.param));
});

TEST(DeepSeek, QuickLowRankQueryAndPositions) {
  for (const int32_t model :
       {SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED, SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED}) {
    for (const Sizes sizes : {Sizes::kRound, Sizes::kOdd}) {
      ModelCase c = make_case(model, SEESAW_BFLOAT16, sizes);
      c.problem.d_q_latent = 24;
      c.problem.cache_capacity = 30;
      c.past = 9;
      c.positions = true;
      c.problem.flags = SEESAW_BASELINE_BIAS | SEESAW_BASELINE_CAUSAL;
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
    }
  }
}

TEST(Chunked, ChunksAndTheUnusedQuery) {
  for (const int64_t chunk : {1, 3, 5, 100}) {
    ModelCase c = make_case(SEESAW_BASELINE_CHUNKED_MLA, SEESAW_FLOAT32, Sizes::kOdd);
    c.problem.tokens = 7;
    c.problem.chunk_size = chunk;
    c.problem.flags = SEESAW_BASELINE_SKIP_UNUSED | SEESAW_BASELINE_CAUSAL;
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
  }
}

TEST(Refusals, ADeviceThatIsNotThere) {
  seesaw_baseline_problem problem =
      make_case(SEESAW_BASELINE_MHA, SEESAW_FLOAT32, Sizes::kRound).problem;
  problem.struct_size = sizeof(problem);
  problem.device = {SEESAW_CUDA, 99};
  seesaw_kernel_support rows[4] = {};
  uint64_t count = 0;
  ASSERT_EQ(seesaw_baselines_supports(&problem, rows, 4, &count), SEESAW_OK);
  ASSERT_EQ(count, 2U);
  EXPECT_EQ(rows[1].supported, 0);
  EXPECT_NE(std::string(rows[1].reason).find("device 99 does not exist"), std::string::npos)
      << rows[1].reason;
}

}  // namespace
}  // namespace seesaw::baselines::gpu_test
