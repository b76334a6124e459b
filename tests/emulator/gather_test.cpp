// gpu.gather against the cases of tests/support/gather_case.hpp: formats, page sizes, alignments,
// both ways to say which tokens, and page ids that are none.
#include <gtest/gtest.h>

#include "any_conditions.hpp"
#include "ops/gather/gpu/gather.hpp"
#include "support/gather_case.hpp"

namespace seesaw::emulator {
namespace {

using testing::GatherBy;
using testing::GatherCase;
using testing::GatherSpec;

constexpr seesaw_device kDevice{SEESAW_CUDA, 0};

// Runs a case; "" or the library's or the emulator's complaint.
std::string run(GatherCase& the_case, bool check_data = false) {
  gather::GatherPlan plan;
  static_cast<seesaw_gather_problem&>(plan.problem) = the_case.problem();
  const Status status = gather::complete(&plan.problem);
  plan.format = plan.problem.format();
  plan.options.device = kDevice;
  plan.options.check_data = check_data;
  const gather::Args args = the_case.host_args(kDevice);
  const Status ran = status.ok() ? gather::gpu::run(plan, args, Call{}) : status;
  const cudaError_t error = cudaStreamSynchronize(nullptr);
  if (!ran.ok()) return ran.message();
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

std::string gathered(const GatherSpec& spec) {
  GatherCase the_case(spec);
  const std::string complaint = run(the_case);
  return complaint.empty() ? the_case.compare() : complaint;
}

class GatherOnGpu : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, GatherOnGpu,
                         ::testing::Values(Conditions{.order = Order::kForward},
                                           Conditions{.order = Order::kBackward}),
                         kNameOfConditions);

TEST_P(GatherOnGpu, EveryFormat) {
  for (const int32_t format : testing::every_format()) {
    for (const int32_t out_dtype :
         {0, int{SEESAW_FLOAT32}, int{SEESAW_BFLOAT16}, int{SEESAW_FLOAT16}}) {
      for (const int64_t page_size : {1, 16, 61}) {
        EXPECT_EQ(gathered({.format = format,
                            .out_dtype = out_dtype,
                            .page_size = page_size,
                            .lengths = {7, 0, 1, 12}}),
                  "");
      }
      EXPECT_EQ(gathered({.format = format,
                          .out_dtype = out_dtype,
                          .by = GatherBy::kSlots,
                          .lengths = {5, 4},
                          .page_gap = 7,
                          .token_gap = 3,
                          .out_gap = 5,
                          .vector_stride = 3,
                          .shift = is_plain(format) ? 0 : 1}),
                "");
    }
  }
}

// Units of 1 to 16 bytes.
TEST_P(GatherOnGpu, EveryAlignment) {
  for (const int64_t gap : {1, 2, 4, 8, 16}) {
    for (const int32_t format : {SEESAW_FORMAT_FP8_656, SEESAW_FORMAT_INDEXER_132}) {
      for (const int32_t out_dtype : {0, int{SEESAW_BFLOAT16}}) {
        EXPECT_EQ(gathered({.format = format,
                            .out_dtype = out_dtype,
                            .lengths = {3},
                            .page_gap = 16 * gap,
                            .out_gap = gap}),
                  "");
      }
    }
  }
  for (const int64_t columns : {1, 7, 65}) {
    EXPECT_EQ(gathered({.columns = columns, .lengths = {3}}), "");
    EXPECT_EQ(gathered({.out_dtype = SEESAW_FLOAT32, .columns = columns, .lengths = {3}}), "");
  }
}

TEST_P(GatherOnGpu, ManyAndEmptySequences) {
  std::vector<int64_t> lengths(1100);  // three rounds of the search
  for (size_t i = 0; i < lengths.size(); ++i)
    lengths[i] = i % 3 == 1 ? static_cast<int64_t>(i % 2) : 0;
  for (const int64_t count : {1, 2, 31, 32, 33, 64, 65, 1023, 1024, 1025, 1100}) {
    const std::vector<int64_t> some(lengths.begin(), lengths.begin() + count);
    EXPECT_EQ(gathered({.page_size = 2, .columns = 8, .lengths = some}), "");
  }
  EXPECT_EQ(gathered({.columns = 8, .lengths = {0, 3}, .starts = {900, 130}}), "");
  EXPECT_EQ(gathered({.lengths = {}}), "");
  EXPECT_EQ(gathered({.by = GatherBy::kNarrowSlots, .lengths = {}}), "");
  EXPECT_EQ(gathered({.by = GatherBy::kNarrowSlots, .columns = 8, .lengths = {9}}), "");
}

TEST_P(GatherOnGpu, PagesThatAreNoneGiveZeros) {
  for (const int32_t out_dtype : {0, int{SEESAW_FLOAT32}}) {
    GatherCase the_case({.out_dtype = out_dtype, .page_size = 2, .columns = 24, .lengths = {5, 4}});
    the_case.page(0, 1) = -1;
    the_case.page(1, 0) = static_cast<int32_t>(the_case.num_pages());
    EXPECT_EQ(run(the_case), "");
    for (const int64_t row : {2, 3, 5, 6}) the_case.expect_zeros(row);
    EXPECT_EQ(the_case.compare(), "");
  }
}

// Lengths and starts that are none reach no memory that is not the call's.
TEST_P(GatherOnGpu, AnyLengthsAndStartsAreSafe) {
  for (const int32_t bad : {-1, INT32_MIN, INT32_MAX, 1000}) {
    for (int64_t i = 0; i < 4; ++i) {
      GatherCase lengths({.page_size = 2, .columns = 8, .lengths = {3, 2, 4}});
      lengths.first_row(i) = bad;
      EXPECT_EQ(run(lengths), "");
    }
    GatherCase starts({.page_size = 2, .columns = 8, .lengths = {3, 2}, .starts = {0, 0}});
    starts.starts[1] = bad;
    EXPECT_EQ(run(starts), "");
  }
}

TEST_P(GatherOnGpu, ChecksNameTheFirstOffender) {
  const GatherSpec spec{.page_size = 2, .columns = 8, .lengths = {3, 2, 4}, .vector_stride = 2};
  GatherCase right(spec);
  EXPECT_EQ(run(right, true), "");
  EXPECT_EQ(right.compare(), "");
  GatherCase page(spec);
  page.page(2, 1) = 77;
  EXPECT_NE(run(page, true).find("block_table[2, 1] = 77"), std::string::npos);
  GatherCase rows(spec);
  rows.first_row(3) = 90;
  EXPECT_NE(run(rows, true).find("sequence 2 has 85 tokens"), std::string::npos);
  rows.expect_nothing_written();
  EXPECT_EQ(rows.compare(), "");
}

}  // namespace
}  // namespace seesaw::emulator
