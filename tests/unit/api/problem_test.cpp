// Describing a problem: what is refused, in which words, and what the answers hold.
#include <climits>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "unit/api/expect_error.hpp"

namespace seesaw::testing {
namespace {

seesaw_dense_decode_problem good_problem() {
  DenseDecodeDescriptor descriptor;
  descriptor.batch = 4;
  descriptor.h_q = 16;
  descriptor.max_pages_per_sequence = 8;
  return descriptor.to_c();
}

seesaw_status try_plan(const seesaw_dense_decode_problem& problem) {
  seesaw_dense_decode_plan* plan = nullptr;
  const seesaw_status status = seesaw_dense_decode_plan_create(&problem, &plan);
  EXPECT_EQ(plan != nullptr, status == SEESAW_OK);
  seesaw_dense_decode_plan_destroy(plan);
  return status;
}

struct Mistake {
  const char* words;
  std::function<void(seesaw_dense_decode_problem&)> make;
};

using Problem = seesaw_dense_decode_problem;

TEST(Problem, GoodOneIsPlanned) { EXPECT_EQ(try_plan(good_problem()), SEESAW_OK); }

TEST(Problem, MistakesAreRefused) {
  const Mistake mistakes[] = {
      {"batch = 0", [](Problem& p) { p.batch = 0; }},
      {"batch = -3", [](Problem& p) { p.batch = -3; }},
      {"batch = 9223372036854775807", [](Problem& p) { p.batch = INT64_MAX; }},
      {"s_q = 0", [](Problem& p) { p.s_q = 0; }},
      {"h_q = 0", [](Problem& p) { p.h_q = 0; }},
      {"h_q = -1", [](Problem& p) { p.h_q = -1; }},
      {"h_kv = 0", [](Problem& p) { p.h_kv = 0; }},
      {"h_kv = 17", [](Problem& p) { p.h_kv = 17; }},
      {"h_q = 16 with h_kv = 3", [](Problem& p) { p.h_kv = 3; }},
      {"d_qk = 0", [](Problem& p) { p.d_qk = 0; }},
      {"d_qk = 100000", [](Problem& p) { p.d_qk = 100'000; }},
      {"d_v = 0", [](Problem& p) { p.d_v = 0; }},
      {"d_v = 577", [](Problem& p) { p.d_v = 577; }},
      {"page_size = 0", [](Problem& p) { p.page_size = 0; }},
      {"page_size = -64", [](Problem& p) { p.page_size = -64; }},
      {"max_pages_per_sequence = 0", [](Problem& p) { p.max_pages_per_sequence = 0; }},
      {"kv_page_stride = -1", [](Problem& p) { p.kv_page_stride = -1; }},
      {"kv_token_stride = -1", [](Problem& p) { p.kv_token_stride = -1; }},
      {"kv_head_stride = -1", [](Problem& p) { p.kv_head_stride = -1; }},
      {"num_threads = -1", [](Problem& p) { p.num_threads = -1; }},
      {"num_threads = 1000000", [](Problem& p) { p.num_threads = 1'000'000; }},
      {"flags = 0x80000000", [](Problem& p) { p.flags = 1U << 31; }},
      {"q_dtype", [](Problem& p) { p.q_dtype = SEESAW_INT32; }},
      {"kv_dtype", [](Problem& p) { p.kv_dtype = SEESAW_INT32; }},
      {"q has dtype 0", [](Problem& p) { p.q_dtype = 0; }},
      {"kv_cache has dtype 99", [](Problem& p) { p.kv_dtype = 99; }},
      {"device type 3", [](Problem& p) { p.device.type = 3; }},
      {"index 1", [](Problem& p) { p.device.index = 1; }},
      {"index -1",
       [](Problem& p) {
         p.device = {SEESAW_CUDA, -1};
       }},
      {"struct_size = 0", [](Problem& p) { p.struct_size = 0; }},
      {"struct_size = 1000000", [](Problem& p) { p.struct_size = 1'000'000; }},
      {"kernel = \"sm99.dense_decode\"", [](Problem& p) { p.kernel = "sm99.dense_decode"; }},
  };
  for (const Mistake& mistake : mistakes) {
    Problem problem = good_problem();
    mistake.make(problem);
    expect_refusal(SEESAW_INVALID_ARGUMENT, mistake.words, try_plan(problem));
  }
}

TEST(Problem, ProductsThatOverflowAreRefused) {
  Problem problem = good_problem();
  problem.d_qk = int64_t{1} << 40;
  problem.page_size = int64_t{1} << 40;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "page_size = 1099511627776", try_plan(problem));
  problem = good_problem();
  problem.s_q = 1 << 20;
  problem.h_q = 1 << 20;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "rows = s_q * h_q = 1099511627776", try_plan(problem));
}

TEST(Problem, NullPointersAreRefused) {
  const Problem problem = good_problem();
  seesaw_dense_decode_plan* plan = nullptr;
  uint64_t count = 0;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "plan = NULL",
                 seesaw_dense_decode_plan_create(&problem, nullptr));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seesaw_dense_decode_problem = NULL",
                 seesaw_dense_decode_plan_create(nullptr, &plan));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "count = NULL",
                 seesaw_dense_decode_supports(&problem, nullptr, 0, nullptr));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "rows = NULL",
                 seesaw_dense_decode_supports(&problem, nullptr, 1, &count));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "plan = NULL",
                 seesaw_dense_decode_plan_get_info(nullptr, nullptr));
  seesaw_dense_decode_plan_destroy(nullptr);
}

// A struct of an older version lacks the last fields: they count as zero. One of a newer version is
// read if its additions are zero, and refused if not.
TEST(Problem, StructsOfOtherVersions) {
  Problem older = good_problem();
  older.kernel = "no such kernel";
  older.struct_size = offsetof(Problem, kernel);
  EXPECT_EQ(try_plan(older), SEESAW_OK);

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
  Problem problem = good_problem();
  problem.device = {SEESAW_CUDA, 77};  // no machine has this many
  expect_refusal(SEESAW_NOT_SUPPORTED, "cpu.dense_decode: ", try_plan(problem));
  expect_refusal(SEESAW_NOT_SUPPORTED, "reference.dense_decode: ", try_plan(problem));
}

TEST(Problem, AKernelInsistedOnIsUsedOrRefused) {
  Problem problem = good_problem();
  problem.kernel = "reference.dense_decode";
  seesaw_dense_decode_plan* plan = nullptr;
  ASSERT_EQ(seesaw_dense_decode_plan_create(&problem, &plan), SEESAW_OK);
  seesaw_dense_decode_plan_info info{};
  info.struct_size = sizeof(info);
  ASSERT_EQ(seesaw_dense_decode_plan_get_info(plan, &info), SEESAW_OK);
  EXPECT_STREQ(info.kernel, "reference.dense_decode");
  seesaw_dense_decode_plan_destroy(plan);

  problem.device = {SEESAW_CUDA, 0};
  expect_refusal(SEESAW_NOT_SUPPORTED, "the kernel insisted on cannot run", try_plan(problem));
}

TEST(Problem, AnUnknownInstructionSetIsRefused) {
  const char* before = std::getenv("SEESAW_CPU_TARGET");
  const std::string restored = before == nullptr ? "" : before;  // empty: the best there is
  ASSERT_EQ(setenv("SEESAW_CPU_TARGET", "mmx", 1), 0);
  Problem problem = good_problem();
  problem.kernel = "cpu.dense_decode";
  expect_refusal(SEESAW_NOT_SUPPORTED, "SEESAW_CPU_TARGET", try_plan(problem));
  ASSERT_EQ(setenv("SEESAW_CPU_TARGET", restored.c_str(), 1), 0);
  EXPECT_EQ(try_plan(problem), SEESAW_OK) << seesaw_last_error();
}

TEST(Problem, SupportsListsEveryKernelInOrder) {
  const Problem problem = good_problem();
  uint64_t count = 0;
  ASSERT_EQ(seesaw_dense_decode_supports(&problem, nullptr, 0, &count), SEESAW_OK);
  const std::vector<KernelSupport> rows = supports([] {
    DenseDecodeDescriptor descriptor;
    descriptor.h_q = 16;
    return descriptor;
  }());
  ASSERT_EQ(rows.size(), count);
  ASSERT_GE(rows.size(), 2U);
  EXPECT_EQ(rows.back().kernel, "reference.dense_decode");
  for (const KernelSupport& row : rows) {
    EXPECT_EQ(row.supported, row.reason.empty()) << row.kernel << ": " << row.reason;
  }
  // A capacity of one: one row written, the rest left alone.
  std::vector<seesaw_kernel_support> some(2);
  std::memset(some.data(), 0x5A, 2 * sizeof(some[0]));
  ASSERT_EQ(seesaw_dense_decode_supports(&problem, some.data(), 1, &count), SEESAW_OK);
  EXPECT_EQ(rows.front().kernel, some[0].kernel);
  EXPECT_EQ(some[1].supported, 0x5A5A5A5A);
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
    problem.flags = engine() % 32;
    problem.num_threads = static_cast<int32_t>(engine() % 5);
    const seesaw_status status = try_plan(problem);
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
    other.s_q = 0;
    EXPECT_EQ(try_plan(other), SEESAW_INVALID_ARGUMENT);
    EXPECT_NE(std::string(seesaw_last_error()).find("s_q = 0"), std::string::npos);
  }).join();
  EXPECT_EQ(mine, seesaw_last_error());
}

TEST(Library, ListsTheCpuFirst) {
  const std::vector<seesaw_device_info> rows = devices();
  ASSERT_GE(rows.size(), 2U);
  EXPECT_EQ(rows[0].device.type, SEESAW_CPU);
  EXPECT_EQ(rows[0].usable, 1);
  EXPECT_GE(rows[0].num_units, 1);
  EXPECT_GT(rows[0].memory_bytes, 0U);
  for (const seesaw_device_info& row : rows) {
    EXPECT_EQ(row.usable == 1, row.reason[0] == '\0') << row.reason;
  }
}

TEST(Library, TheCppFaceThrowsTheSameMessage) {
  DenseDecodeDescriptor descriptor;
  descriptor.h_q = 0;
  try {
    const DenseDecode decode(descriptor);
    FAIL() << "h_q = 0 was planned";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SEESAW_INVALID_ARGUMENT);
    EXPECT_STREQ(error.what(), seesaw_last_error());
    EXPECT_TRUE(has_four_parts(error.what()));
  }
}

}  // namespace
}  // namespace seesaw::testing
