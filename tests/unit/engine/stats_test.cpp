// seesaw_stats: every counter against calls whose effect is known, and reading it.
#include <cstring>
#include <map>
#include <thread>
#include <utility>

#include "support/allocation_count.hpp"
#include "support/host_call.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

constexpr const char* kKernel = "cpu.dense_decode";

seesaw_stats row_of(const std::string& kernel) {
  for (const seesaw_stats& row : stats()) {
    if (row.kernel == kernel) {
      return row;
    }
  }
  ADD_FAILURE() << "no row of " << kernel;
  return {};
}

uint64_t calls(const seesaw_stats& row, int function, seesaw_status status = SEESAW_OK) {
  return row.calls[function][status];
}

// A case of three sequences, planned for two workers, with everything that a call needs.
struct Runnable : HostCall {
  explicit Runnable(
      DecodeCase the_case = DecodeCase({.seq_lens = {700, 0, 65}, .s_q = 2, .h_q = 16}))
      : HostCall(the_case, the_case.options(kKernel, 2)), test_case(std::move(the_case)) {
    args = test_case.inputs();
    args.out = test_case.out_tensor(out.data());
    args.lse = test_case.lse_tensor(lse.data());
  }
  DecodeCase test_case;
};

constexpr seesaw_dense_decode_problem kSmall{.batch = 1, .h_q = 16, .max_pages_per_sequence = 1};

TEST(Stats, ARowForEveryKernelAndOneForNone) {
  const std::vector<seesaw_stats> rows = stats();
  const std::vector<KernelSupport> kernels = DenseDecode::supports(kSmall);
  ASSERT_GE(rows.size(), kernels.size() + 1);
  for (size_t i = 0; i < kernels.size(); ++i) {
    EXPECT_EQ(rows[i].kernel, kernels[i].kernel);
    EXPECT_STREQ(rows[i].operation, "dense_decode");
    EXPECT_EQ(rows[i].lengths_known, kernels[i].kernel.rfind("sm", 0) == 0 ? 0 : 1);
  }
  EXPECT_STREQ(rows.back().kernel, "none");
  EXPECT_EQ(rows.back().lengths_known, 0);
}

TEST(Stats, ARunCountsItsSequencesTokensAndBytes) {
  const Runnable runnable;
  runnable.prepare();
  const seesaw_stats before = row_of(kKernel);
  runnable.run();
  runnable.run();
  const seesaw_stats after = row_of(kKernel);
  EXPECT_EQ(calls(after, SEESAW_STATS_RUN) - calls(before, SEESAW_STATS_RUN), 2U);
  EXPECT_EQ(after.sequences - before.sequences, 2U * 3);
  EXPECT_EQ(after.kv_tokens - before.kv_tokens, 2U * (700 + 0 + 65));
  EXPECT_EQ(after.kv_bytes - before.kv_bytes, 2U * (700 + 0 + 65) * 576 * 2);
  // 3 sequences, 2 tokens, 16 heads: q of 576 and out of 512 in bfloat16, lse in float32.
  EXPECT_EQ(after.tensor_bytes - before.tensor_bytes, 2U * 3 * 2 * 16 * ((576 + 512) * 2 + 4));
  const auto pages = static_cast<uint64_t>(runnable.args.block_table.shape[1]);
  EXPECT_EQ(after.kv_bytes_planned - before.kv_bytes_planned, 2U * 3 * pages * 64 * 576 * 2);
  EXPECT_GT(after.nanoseconds[SEESAW_STATS_RUN], before.nanoseconds[SEESAW_STATS_RUN]);
  EXPECT_EQ(after.nanoseconds[SEESAW_STATS_PLAN], before.nanoseconds[SEESAW_STATS_PLAN]);
}

TEST(Stats, NegativeLengthsAndAbsentLseCountAsNothing) {
  Runnable runnable;
  runnable.test_case.set_length(2, -5);
  runnable.args.lse.data = nullptr;
  runnable.prepare();
  const seesaw_stats before = row_of(kKernel);
  runnable.run();
  const seesaw_stats after = row_of(kKernel);
  EXPECT_EQ(after.kv_tokens - before.kv_tokens, 700U);
  EXPECT_EQ(after.tensor_bytes - before.tensor_bytes, 3U * 2 * 16 * (576 + 512) * 2);
}

TEST(Stats, AScheduleCountsItsPiecesAndSplits) {
  const Runnable runnable;
  const seesaw_stats before = row_of(kKernel);
  runnable.prepare();
  const seesaw_stats after = row_of(kKernel);
  std::map<int32_t, uint64_t> pieces_of;
  uint64_t partials = 0;
  const auto pieces = runnable.decode.pieces(runnable.schedule.data(), runnable.schedule.size());
  for (const seesaw_piece& piece : pieces) {
    ++pieces_of[piece.sequence];
    partials += piece.partial >= 0 ? 1 : 0;
  }
  uint64_t split = 0;
  for (const auto& [sequence, count] : pieces_of) {
    split += count > 1 ? 1 : 0;
  }
  ASSERT_GT(split, 0U) << "the case must split a sequence, or this tests nothing";
  EXPECT_EQ(calls(after, SEESAW_STATS_PREPARE) - calls(before, SEESAW_STATS_PREPARE), 1U);
  EXPECT_EQ(after.pieces - before.pieces, pieces.size());
  EXPECT_EQ(after.split_sequences - before.split_sequences, split);
  EXPECT_EQ(after.partials - before.partials, partials);
}

TEST(Stats, PlansAreAGaugeAndTheLargestWorkspaceIsKept) {
  const seesaw_stats before = row_of(kKernel);
  {
    const Runnable one;
    const Runnable two;
    const seesaw_stats during = row_of(kKernel);
    EXPECT_EQ(during.plans - before.plans, 2U);
    EXPECT_EQ(calls(during, SEESAW_STATS_PLAN) - calls(before, SEESAW_STATS_PLAN), 2U);
    EXPECT_GE(during.workspace_bytes, one.decode.workspace_bytes());
  }
  const seesaw_stats after = row_of(kKernel);
  EXPECT_EQ(after.plans, before.plans);
  const DenseDecode decode({.batch = 1, .h_q = 128, .max_pages_per_sequence = 1},
                           {.num_threads = 64, .kernel = kKernel});
  ASSERT_GT(decode.workspace_bytes(), after.workspace_bytes);
  EXPECT_EQ(row_of(kKernel).workspace_bytes, decode.workspace_bytes());
}

TEST(Stats, RefusalsCountByStatus) {
  const Runnable runnable;
  runnable.prepare();
  const seesaw_stats before = row_of(kKernel);
  const seesaw_stats none_before = row_of("none");
  seesaw_dense_decode_args bad = runnable.args;
  bad.scale = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(runnable.decode.run(bad, runnable.call), Error);
  EXPECT_THROW(DenseDecode({.batch = 0}), Error);
  EXPECT_THROW(DenseDecode(kSmall, {.device = {SEESAW_CUDA, 77}}), Error);
  EXPECT_EQ(seesaw_plan_run(nullptr, nullptr, nullptr), SEESAW_INVALID_ARGUMENT);
  const seesaw_stats after = row_of(kKernel);
  const seesaw_stats none = row_of("none");
  const auto refused = [](const seesaw_stats& now, const seesaw_stats& then, int function,
                          seesaw_status status) {
    return calls(now, function, status) - calls(then, function, status);
  };
  EXPECT_EQ(refused(after, before, SEESAW_STATS_RUN, SEESAW_INVALID_ARGUMENT), 1U);
  EXPECT_EQ(after.sequences, before.sequences);
  EXPECT_EQ(refused(none, none_before, SEESAW_STATS_PLAN, SEESAW_INVALID_ARGUMENT), 1U);
  EXPECT_EQ(refused(none, none_before, SEESAW_STATS_PLAN, SEESAW_NOT_SUPPORTED), 1U);
  EXPECT_EQ(refused(none, none_before, SEESAW_STATS_RUN, SEESAW_INVALID_ARGUMENT), 1U);
}

TEST(Stats, NothingIsLostBetweenThreads) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 200;
  const seesaw_stats before = row_of(kKernel);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([] {
      const Runnable runnable;
      for (int call = 0; call < kCalls; ++call) {
        runnable.prepare();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const seesaw_stats after = row_of(kKernel);
  EXPECT_EQ(calls(after, SEESAW_STATS_PREPARE) - calls(before, SEESAW_STATS_PREPARE),
            static_cast<uint64_t>(kThreads * kCalls));
  EXPECT_EQ(after.plans, before.plans);
}

TEST(Stats, ReadingAllocatesNothing) {
  if (!allocations_are_counted()) {
    GTEST_SKIP() << "the sanitizers' allocator is not counted";
  }
  seesaw_stats row{};
  row.struct_size = sizeof(row);
  const int64_t before = allocation_count();
  EXPECT_EQ(seesaw_stats_get(0, &row), SEESAW_OK);
  EXPECT_EQ(allocation_count() - before, 0);
}

TEST(Stats, MistakesAreRefused) {
  seesaw_stats row{};
  expect_refusal(SEESAW_INVALID_ARGUMENT, "index = ", seesaw_stats_get(seesaw_stats_count(), &row));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "stats = NULL", seesaw_stats_get(0, nullptr));
  row.struct_size = 0;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "struct_size = 0", seesaw_stats_get(0, &row));
  row.struct_size = 1U << 20;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "struct_size", seesaw_stats_get(0, &row));
}

// An older caller's struct ends earlier, and what lies behind it is not the library's.
TEST(Stats, StructsOfOtherVersions) {
  struct {
    seesaw_stats row;
    uint64_t behind;
  } older;
  std::memset(static_cast<void*>(&older), 0x5A, sizeof(older));
  older.row.struct_size = offsetof(seesaw_stats, calls);
  ASSERT_EQ(seesaw_stats_get(0, &older.row), SEESAW_OK) << seesaw_last_error();
  EXPECT_EQ(older.row.struct_size, offsetof(seesaw_stats, calls));
  EXPECT_STREQ(older.row.operation, "dense_decode");
  EXPECT_EQ(older.row.calls[0][0], 0x5A5A5A5A5A5A5A5AU);
  older.row.struct_size = sizeof(older);
  ASSERT_EQ(seesaw_stats_get(0, &older.row), SEESAW_OK) << seesaw_last_error();
  EXPECT_EQ(older.behind, 0x5A5A5A5A5A5A5A5AU);
}

}  // namespace
}  // namespace seesaw::testing
