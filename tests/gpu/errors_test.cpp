// Bad input on the GPU: a four-part message before any launch; SEESAW_CHECK finds bad device data.
#include <gtest/gtest.h>

#include <functional>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

DenseCase small_case(uint32_t flags = 0) {
  DenseCase c;
  c.b = 4;
  c.s_k = 300;
  c.h_q = 16;
  c.flags = flags;
  return c;
}

// The message of the error that `work` must throw.
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_four_parts(const std::string& message, const std::string& arrived,
                       const std::string& where = "dense_decode: ") {
  EXPECT_EQ(message.rfind(where, 0), 0U) << message;
  EXPECT_NE(message.find(arrived), std::string::npos) << message;
  EXPECT_NE(message.find("allowed: "), std::string::npos) << message;
  EXPECT_EQ(message.back(), '.') << message;
}

class BadCall : public testing::Test {
 protected:
  void SetUp() override {
    run.prepare(small_case());
    run.plan();
    run.poison_results();
    run.schedule();
  }
  // After a refusal nothing may have been written.
  void TearDown() override {
    for (const uint16_t bits : run.out_bits()) {
      ASSERT_EQ(bits, 0xFFFF);
    }
  }
  DenseRun run;
};

TEST_F(BadCall, AnotherDtype) {
  run.tensors().q.dtype = SEESAW_FLOAT16;
  expect_four_parts(message_of([&] { run.run(); }), "q has dtype");
}

TEST_F(BadCall, AnotherDevice) {
  run.tensors().block_table.device = kCpu;
  expect_four_parts(message_of([&] { run.run(); }), "block_table is on cpu");
}

TEST_F(BadCall, AWorkspaceTooSmall) {
  run.call().workspace_bytes -= 1;
  expect_four_parts(message_of([&] { run.run(); }), "workspace of");
}

TEST_F(BadCall, AScheduleTooSmall) {
  run.call().schedule_bytes = 16;
  expect_four_parts(message_of([&] { run.run(); }), "schedule of 16 bytes");
}

TEST_F(BadCall, AnUnalignedCache) {
  run.tensors().kv_cache.data = static_cast<char*>(run.tensors().kv_cache.data) + 8;
  expect_four_parts(message_of([&] { run.run(); }), "kv_cache");
}

TEST_F(BadCall, MoreSequencesThanPlanned) {
  run.tensors().seq_lens.shape[0] = 5;
  expect_four_parts(message_of([&] { run.run(); }), "b = ");
}

TEST(Support, ReasonsNameWhatArrived) {
  const auto reason = [](seesaw_dense_decode_problem problem) {
    problem.batch = 1;
    problem.h_q = 128;
    problem.max_pages_per_sequence = 1;
    std::string text;
    for (const KernelSupport& answer :
         DenseDecode::supports(problem, {.device = {SEESAW_CUDA, 0}})) {
      if (answer.kernel == "sm90.dense_decode.bf16") {
        EXPECT_FALSE(answer.supported);
        text = answer.reason;
      }
    }
    return text;
  };
  EXPECT_NE(reason({.d_qk = 192, .d_v = 128}).find("192"), std::string::npos);
  EXPECT_NE(reason({.page_size = 16}).find("16"), std::string::npos);
  EXPECT_NE(reason({.q_dtype = SEESAW_FLOAT32}).find("float32"), std::string::npos);
  EXPECT_NE(reason({.kv_token_stride = 577}).find("577"), std::string::npos);
  EXPECT_NE(reason({.window = 64, .sinks = 1}).find("window, sinks"), std::string::npos);
}

TEST(Support, ADeviceThatIsNotThere) {
  const std::string message = message_of([&] {
    const DenseDecode decode({.batch = 1, .h_q = 128, .max_pages_per_sequence = 1},
                             {.device = {SEESAW_CUDA, 99}});
  });
  expect_four_parts(message, "a problem that no kernel");
  EXPECT_NE(message.find("99"), std::string::npos) << message;
}

class CheckData : public testing::Test {
 protected:
  void SetUp() override {
    run.prepare(small_case(kCheckData));
    run.plan();
    run.poison_results();
    run.schedule();
  }
  // After the schedule is made, which the stream does on its own.
  void put(const void* tensor, int64_t index, int32_t value) {
    must(cudaStreamSynchronize(run.stream().get()), "waiting");
    must(cudaMemcpy(static_cast<int32_t*>(const_cast<void*>(tensor)) + index, &value, 4,
                    cudaMemcpyHostToDevice),
         "cudaMemcpy");
  }
  DenseRun run;
};

TEST_F(CheckData, GoodDataPasses) {
  run.run();
  EXPECT_EQ(verdict(run.of(), run.compare()), "");
}

TEST_F(CheckData, TheFirstBadLength) {
  put(run.tensors().seq_lens.data, 3, 1000);
  put(run.tensors().seq_lens.data, 2, -7);
  expect_four_parts(message_of([&] { run.schedule(); }), "seq_lens[2] = -7", "check_data: ");
  expect_four_parts(message_of([&] { run.run(); }), "seq_lens[2] = -7", "check_data: ");
}

TEST_F(CheckData, TheFirstBadPage) {
  const int64_t columns = run.tensors().block_table.shape[1];
  put(run.tensors().block_table.data, columns + 3, -1);
  put(run.tensors().block_table.data, 3 * columns, 123456);
  expect_four_parts(message_of([&] { run.run(); }), "block_table[1, 3] = -1", "check_data: ");
}

TEST_F(CheckData, AScheduleOfOtherLengths) {
  put(run.tensors().seq_lens.data, 0, 2);
  expect_four_parts(message_of([&] { run.run(); }), "of the schedule", "check_data: ");
}

TEST_F(CheckData, CapturingIsRefused) {
  must(cudaStreamBeginCapture(run.stream().get(), cudaStreamCaptureModeThreadLocal), "capture");
  const std::string message = message_of([&] { run.run(); });
  cudaGraph_t graph = nullptr;
  must(cudaStreamEndCapture(run.stream().get(), &graph), "end of capture");
  cudaGraphDestroy(graph);
  expect_four_parts(message, "capturing", "check_data: ");
}

}  // namespace
}  // namespace seesaw::gpu_test
