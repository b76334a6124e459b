// Describing a problem: what is refused, in which words, and what the answers hold.
#include <climits>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "seesaw/ops/dense_decode.h"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

using Problem = seesaw_dense_decode_problem;
using Options = seesaw_options;

Problem good_problem() { return {.batch = 4, .h_q = 16, .max_pages_per_sequence = 8}; }

seesaw_status try_plan(const Problem& problem, const Options& options = {}) {
  seesaw_plan* plan = nullptr;
  const seesaw_status status = seesaw_dense_decode_plan_create(&problem, &options, &plan);
  EXPECT_EQ(plan != nullptr, status == SEESAW_OK);
  seesaw_plan_destroy(plan);
  return status;
}

template <typename Struct>
struct Mistake {
  const char* words;
  std::function<void(Struct&)> make;
};

TEST(Problem, GoodOneIsPlanned) { EXPECT_EQ(try_plan(good_problem()), SEESAW_OK); }

TEST(Problem, MistakesAreRefused) {
  const Mistake<Problem> mistakes[] = {
      {"batch = 0", [](Problem& p) { p.batch = 0; }},
      {"batch = -3", [](Problem& p) { p.batch = -3; }},
      {"batch = 9223372036854775807", [](Problem& p) { p.batch = INT64_MAX; }},
      {"s_q = -1", [](Problem& p) { p.s_q = -1; }},
      {"h_q = 0", [](Problem& p) { p.h_q = 0; }},
      {"h_q = -1", [](Problem& p) { p.h_q = -1; }},
      {"h_kv = -1", [](Problem& p) { p.h_kv = -1; }},
      {"h_q = 16 with h_kv = 17", [](Problem& p) { p.h_kv = 17; }},
      {"h_q = 16 with h_kv = 3", [](Problem& p) { p.h_kv = 3; }},
      {"d_qk = -1", [](Problem& p) { p.d_qk = -1; }},
      {"d_qk = 100000", [](Problem& p) { p.d_qk = 100'000; }},
      {"d_v = -1", [](Problem& p) { p.d_v = -1; }},
      {"d_v = 577", [](Problem& p) { p.d_v = 577; }},
      {"page_size = -64", [](Problem& p) { p.page_size = -64; }},
      {"max_pages_per_sequence = -1", [](Problem& p) { p.max_pages_per_sequence = -1; }},
      {"kv_page_stride = -1", [](Problem& p) { p.kv_page_stride = -1; }},
      {"kv_token_stride = -1", [](Problem& p) { p.kv_token_stride = -1; }},
      {"kv_head_stride = -1", [](Problem& p) { p.kv_head_stride = -1; }},
      {"causal = 2", [](Problem& p) { p.causal = 2; }},
      {"lse_base = -1", [](Problem& p) { p.lse_base = -1; }},
      {"empty_lse = 7", [](Problem& p) { p.empty_lse = 7; }},
      {"ragged = 2", [](Problem& p) { p.ragged = 2; }},
      {"window = -1", [](Problem& p) { p.window = -1; }},
      {"sinks = -1", [](Problem& p) { p.sinks = -1; }},
      {"struct_size = 0", [](Problem& p) { p.struct_size = 0; }},
      {"struct_size = 1000000", [](Problem& p) { p.struct_size = 1'000'000; }},
  };
  for (const auto& mistake : mistakes) {
    Problem problem = good_problem();
    mistake.make(problem);
    expect_refusal(SEESAW_INVALID_ARGUMENT, mistake.words, try_plan(problem));
  }
}

TEST(Problem, WrongDtypesAreAKindOfTheirOwn) {
  const Mistake<Problem> mistakes[] = {
      {"q_dtype = 4 (int32)", [](Problem& p) { p.q_dtype = SEESAW_INT32; }},
      {"kv_format = 4 (int32)", [](Problem& p) { p.kv_format = SEESAW_INT32; }},
      {"q_dtype = -1", [](Problem& p) { p.q_dtype = -1; }},
      {"kv_format = 99", [](Problem& p) { p.kv_format = 99; }},
  };
  for (const auto& mistake : mistakes) {
    Problem problem = good_problem();
    mistake.make(problem);
    expect_refusal(SEESAW_INVALID_TYPE, mistake.words, try_plan(problem));
  }
}

TEST(Problem, FieldsLeftZeroHaveTheirDefaults) {
  const DenseDecode decode(good_problem());
  const std::string key = decode.details().tuning_key;
  for (const char* words : {"\"q_dtype\":\"bfloat16\"", "\"kv_format\":\"bfloat16\"", "\"s_q\":1",
                            "\"h_kv\":1", "\"d_qk\":576", "\"d_v\":512", "\"page_size\":64"}) {
    EXPECT_NE(key.find(words), std::string::npos) << key;
  }
  Problem half = good_problem();
  half.q_dtype = SEESAW_FLOAT16;
  EXPECT_NE(std::string(DenseDecode(half).details().tuning_key).find("\"kv_format\":\"float16\""),
            std::string::npos);
}

TEST(Options, MistakesAreRefused) {
  const Mistake<Options> mistakes[] = {
      {"num_threads = -1", [](Options& o) { o.num_threads = -1; }},
      {"num_threads = 1000000", [](Options& o) { o.num_threads = 1'000'000; }},
      {"batch_invariant = 5", [](Options& o) { o.batch_invariant = 5; }},
      {"check_data = -1", [](Options& o) { o.check_data = -1; }},
      {"reserved", [](Options& o) { o.reserved = 1; }},
      {"device type 3", [](Options& o) { o.device.type = 3; }},
      {"index 1", [](Options& o) { o.device.index = 1; }},
      {"index -1",
       [](Options& o) {
         o.device = {SEESAW_CUDA, -1};
       }},
      {"struct_size = 0", [](Options& o) { o.struct_size = 0; }},
      {"kernel = \"sm99.dense_decode\"", [](Options& o) { o.kernel = "sm99.dense_decode"; }},
  };
  for (const auto& mistake : mistakes) {
    Options options;
    mistake.make(options);
    expect_refusal(SEESAW_INVALID_ARGUMENT, mistake.words, try_plan(good_problem(), options));
  }
  seesaw_plan* plan = nullptr;  // without options: all defaults
  const Problem problem = good_problem();
  EXPECT_EQ(seesaw_dense_decode_plan_create(&problem, nullptr, &plan), SEESAW_OK);
  seesaw_plan_destroy(plan);
}

TEST(Problem, ProductsThatOverflowAreRefused) {
  Problem problem = good_problem();
  problem.h_q = 1 << 20;
  problem.h_kv = 1 << 20;
  problem.d_qk = 1 << 16;
  problem.page_size = INT32_MAX;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "page_size = 2147483647", try_plan(problem));
  problem = good_problem();
  problem.s_q = 1 << 20;
  problem.h_q = 1 << 20;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "rows = s_q * h_q = 1099511627776", try_plan(problem));
}

TEST(Problem, NullPointersAndUnknownOperationsAreRefused) {
  const Problem problem = good_problem();
  seesaw_plan* plan = nullptr;
  uint64_t count = 0;
  seesaw_kernel_support row;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "plan = NULL",
                 seesaw_plan_create("dense_decode", &problem, nullptr, nullptr));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "problem = NULL",
                 seesaw_plan_create("dense_decode", nullptr, nullptr, &plan));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "operation = NULL",
                 seesaw_plan_create(nullptr, &problem, nullptr, &plan));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "operation = sparse",
                 seesaw_plan_create("sparse", &problem, nullptr, &plan));
  expect_refusal(
      SEESAW_INVALID_ARGUMENT, "count = NULL",
      seesaw_supports("dense_decode", &problem, nullptr, nullptr, sizeof(row), 0, nullptr));
  expect_refusal(
      SEESAW_INVALID_ARGUMENT, "rows = NULL",
      seesaw_supports("dense_decode", &problem, nullptr, nullptr, sizeof(row), 1, &count));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "row_bytes = 3",
                 seesaw_supports("dense_decode", &problem, nullptr, &row, 3, 1, &count));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "plan = NULL", seesaw_plan_info(nullptr, nullptr));
  seesaw_plan_destroy(nullptr);
}

// A struct of an older version lacks the last fields: they count as zero. One of a newer version is
// read if its additions are zero, and refused if not.
TEST(Problem, StructsOfOtherVersions) {
  Options older{.kernel = "no such kernel"};
  older.struct_size = offsetof(Options, kernel);
  EXPECT_EQ(try_plan(good_problem(), older), SEESAW_OK);
  Problem shorter = good_problem();
  shorter.causal = 77;
  shorter.struct_size = offsetof(Problem, causal);
  EXPECT_EQ(try_plan(shorter), SEESAW_OK);

  struct {
    Problem known;
    uint64_t added;
  } newer = {good_problem(), 0};
  newer.known.struct_size = sizeof(newer);
  EXPECT_EQ(try_plan(newer.known), SEESAW_OK);
  newer.added = 1;
  expect_refusal(SEESAW_NOT_SUPPORTED, "fields of a newer version", try_plan(newer.known));
}

TEST(Problem, AGpuWithoutKernelsIsRefusedWithEveryReason) {
  const Options options{.device = {SEESAW_CUDA, 77}};  // no machine has this many
  expect_refusal(SEESAW_NOT_SUPPORTED, "cpu.dense_decode: ", try_plan(good_problem(), options));
  expect_refusal(SEESAW_NOT_SUPPORTED,
                 "reference.dense_decode: ", try_plan(good_problem(), options));
}

TEST(Problem, AKernelInsistedOnIsUsedOrRefused) {
  Options options{.kernel = "reference.dense_decode"};
  EXPECT_STREQ(DenseDecode(good_problem(), options).kernel(), "reference.dense_decode");
  options.device = {SEESAW_CUDA, 0};
  expect_refusal(SEESAW_NOT_SUPPORTED, "the kernel insisted on cannot run",
                 try_plan(good_problem(), options));
}

TEST(Problem, AnUnknownInstructionSetIsRefused) {
  const char* before = std::getenv("SEESAW_CPU_TARGET");
  const std::string restored = before == nullptr ? "" : before;  // empty: the best there is
  ASSERT_EQ(setenv("SEESAW_CPU_TARGET", "mmx", 1), 0);
  const Options options{.kernel = "cpu.dense_decode"};
  expect_refusal(SEESAW_NOT_SUPPORTED, "SEESAW_CPU_TARGET", try_plan(good_problem(), options));
  ASSERT_EQ(setenv("SEESAW_CPU_TARGET", restored.c_str(), 1), 0);
  EXPECT_EQ(try_plan(good_problem(), options), SEESAW_OK) << seesaw_last_error();
}

TEST(Problem, SupportsListsEveryKernelInOrder) {
  const std::vector<KernelSupport> rows = DenseDecode::supports(good_problem());
  ASSERT_GE(rows.size(), 2U);
  EXPECT_EQ(rows.back().kernel, "reference.dense_decode");
  for (const KernelSupport& row : rows) {
    EXPECT_EQ(row.supported, row.reason.empty()) << row.kernel << ": " << row.reason;
  }
  // A capacity of one and rows of a newer version: one row written, the rest left alone.
  struct {
    seesaw_kernel_support known;
    uint64_t added;
  } some[2];
  std::memset(some, 0x5A, sizeof(some));
  const Problem problem = good_problem();
  uint64_t count = 0;
  ASSERT_EQ(seesaw_supports("dense_decode", &problem, nullptr, &some[0].known, sizeof(some[0]), 1,
                            &count),
            SEESAW_OK);
  EXPECT_EQ(count, rows.size());
  EXPECT_EQ(rows.front().kernel, some[0].known.kernel);
  EXPECT_EQ(some[0].added, 0x5A5A5A5A5A5A5A5AU);
  EXPECT_EQ(some[1].known.supported, 0x5A5A5A5A);
}

// Whatever numbers arrive, planning answers: a plan, or four parts. Sanitizers watch the sums.
TEST(Problem, HostileNumbersNeverCrash) {
  constexpr int64_t kNumbers[] = {INT64_MIN, -1,        0,         1,         2,         3,
                                  64,        576,       65'535,    65'536,    1 << 20,   1 << 30,
                                  INT32_MAX, 1LL << 31, 1LL << 32, 1LL << 40, 1LL << 60, INT64_MAX};
  std::mt19937 engine(1);
  const auto number = [&] { return kNumbers[engine() % std::size(kNumbers)]; };
  int planned = 0;
  for (int i = 0; i < 30'000; ++i) {
    Problem problem = good_problem();
    int64_t* const fields[] = {&problem.batch,
                               &problem.s_q,
                               &problem.h_q,
                               &problem.h_kv,
                               &problem.d_qk,
                               &problem.d_v,
                               &problem.page_size,
                               &problem.max_pages_per_sequence,
                               &problem.kv_page_stride,
                               &problem.kv_token_stride,
                               &problem.kv_head_stride};
    for (unsigned changes = 1 + engine() % 4; changes > 0; --changes) {
      *fields[engine() % std::size(fields)] = number();
    }
    problem.causal = static_cast<int32_t>(engine() % 2);
    const Options options{.num_threads = static_cast<int32_t>(engine() % 5),
                          .batch_invariant = static_cast<int32_t>(engine() % 2),
                          .check_data = static_cast<int32_t>(engine() % 2)};
    const seesaw_status status = try_plan(problem, options);
    if (status == SEESAW_OK) {
      ++planned;
      continue;
    }
    ASSERT_TRUE(status == SEESAW_INVALID_ARGUMENT || status == SEESAW_NOT_SUPPORTED)
        << seesaw_status_name(status) << ": " << seesaw_last_error();
    ASSERT_TRUE(has_four_parts(seesaw_last_error()));
  }
  EXPECT_GT(planned, 100);  // or the numbers only test the first check
}

TEST(Library, NamesItsVersionAndStatuses) {
  EXPECT_STREQ(seesaw_version(), SEESAW_VERSION_STRING);
  EXPECT_STREQ(seesaw_status_name(SEESAW_OK), "SEESAW_OK");
  EXPECT_STREQ(seesaw_status_name(SEESAW_NOT_SUPPORTED), "SEESAW_NOT_SUPPORTED");
  EXPECT_STREQ(seesaw_status_name(static_cast<seesaw_status>(7)), "unknown seesaw_status");
}

TEST(Library, LastErrorBelongsToTheThread) {
  Problem problem = good_problem();
  problem.batch = 0;
  ASSERT_EQ(try_plan(problem), SEESAW_INVALID_ARGUMENT);
  const std::string mine = seesaw_last_error();
  std::thread([] {
    EXPECT_NE(seesaw_last_error(), nullptr);
    Problem other = good_problem();
    other.s_q = -2;
    EXPECT_EQ(try_plan(other), SEESAW_INVALID_ARGUMENT);
    EXPECT_NE(std::string(seesaw_last_error()).find("s_q = -2"), std::string::npos);
  }).join();
  EXPECT_EQ(mine, seesaw_last_error());
}

TEST(Library, ListsTheCpuFirst) {
  const std::vector<DeviceInfo> rows = devices();
  ASSERT_GE(rows.size(), 2U);
  EXPECT_EQ(rows[0].device.type, SEESAW_CPU);
  EXPECT_TRUE(rows[0].usable);
  EXPECT_GE(rows[0].num_units, 1);
  EXPECT_GT(rows[0].memory_bytes, 0U);
  for (const DeviceInfo& row : rows) {
    EXPECT_EQ(row.usable, row.reason.empty()) << row.reason;
  }
}

TEST(Library, TheCppFaceThrowsTheSameMessage) {
  try {
    const DenseDecode decode({.batch = 1, .max_pages_per_sequence = 1});
    FAIL() << "h_q = 0 was planned";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SEESAW_INVALID_ARGUMENT);
    EXPECT_STREQ(error.what(), seesaw_last_error());
    EXPECT_TRUE(has_four_parts(error.what()));
  }
}

}  // namespace
}  // namespace seesaw::testing
