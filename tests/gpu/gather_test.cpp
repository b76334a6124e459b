// gpu.gather: the cases of tests/support/gather_case.hpp on the device, large ones against
// cpu.gather.
#include <gtest/gtest.h>

#include <list>

#include "lab/device/device_memory.hpp"
#include "support/gather_case.hpp"

namespace seesaw::gpu_test {
namespace {

using lab::DeviceBuffer;
using lab::must;

using testing::GatherBy;
using testing::GatherCase;
using testing::GatherSpec;

constexpr seesaw_device kDevice{SEESAW_CUDA, 0};

// A case's memory on the device.
class DeviceGather {
 public:
  explicit DeviceGather(GatherCase& the_case) : case_(the_case) {
    const GatherCase::Memory host = the_case.memory();
    const GatherCase::Sizes sizes = the_case.sizes();
    at_ = {.cache = bring(host.cache, sizes.cache),
           .block_table = bring(host.block_table, sizes.block_table),
           .cu_seq_lens = bring(host.cu_seq_lens, sizes.cu_seq_lens),
           .starts = bring(host.starts, sizes.starts),
           .slots = bring(host.slots, sizes.slots),
           .kv_scale = bring(host.kv_scale, sizes.kv_scale),
           .out = bring(host.out, sizes.out)};
  }

  void run(bool check_data = false) {
    const Gather plan(case_.problem(), {.device = kDevice, .check_data = check_data});
    EXPECT_STREQ(plan.kernel(), "gpu.gather");
    plan.run(case_.args(at_, kDevice), {});
    must(cudaMemcpy(case_.out.data(), at_.out, case_.out.size(), cudaMemcpyDeviceToHost),
         "cudaMemcpy");
  }

 private:
  void* bring(const void* host, size_t bytes) {
    memory_.emplace_back(std::max<size_t>(bytes, 1));
    void* const device = memory_.back().as<void>();
    if (bytes > 0) must(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    return device;
  }

  GatherCase& case_;
  std::list<DeviceBuffer> memory_;
  GatherCase::Memory at_;
};

void expect_gathered(const GatherSpec& spec) {
  GatherCase the_case(spec);
  DeviceGather(the_case).run();
  EXPECT_EQ(the_case.compare(), "");
}

constexpr int32_t kOutTypes[] = {0, SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16};

TEST(QuickGather, EveryFormat) {
  for (const int32_t format : testing::every_format()) {
    for (const int64_t page_size : {1, 16, 61, 64, 256}) {
      for (const int32_t out_dtype : kOutTypes) {
        for (const GatherBy by : {GatherBy::kPages, GatherBy::kSlots}) {
          expect_gathered(
              {.format = format, .out_dtype = out_dtype, .by = by, .page_size = page_size});
          expect_gathered({.format = format,
                           .out_dtype = out_dtype,
                           .by = by,
                           .page_size = page_size,
                           .lengths = {5, 62},
                           .starts = {60, 3},
                           .page_gap = 7,
                           .token_gap = 3,
                           .out_gap = 5,
                           .vector_stride = 3,
                           .shift = is_plain(format) ? 0 : 1});
        }
      }
    }
  }
}

TEST(QuickGather, PagesThatAreNoneGiveZeros) {
  GatherCase the_case({.page_size = 2, .lengths = {5, 4}});
  the_case.page(0, 1) = -1;
  the_case.page(1, 0) = static_cast<int32_t>(the_case.num_pages());
  DeviceGather(the_case).run();
  for (const int64_t row : {2, 3, 5, 6}) the_case.expect_zeros(row);
  EXPECT_EQ(the_case.compare(), "");
  EXPECT_THROW(DeviceGather(the_case).run(true), Error);
}

TEST(GatherLimits, ManySequencesAndRows) {
  std::vector<int64_t> lengths(70'000);
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] = static_cast<int64_t>(i % 4);
  expect_gathered({.page_size = 4, .columns = 16, .lengths = lengths});
  expect_gathered({.lengths = {40'000, 30'000}});
  expect_gathered({.lengths = {}});
}

// The first, the last and a middle token of a pool of 5 GiB.
TEST(GatherLimits, APoolBeyondTwoToTheThirtyOneElements) {
  constexpr int64_t kPageSize = 64;
  constexpr int64_t kColumns = 576;
  constexpr int64_t kPages = (int64_t{5} << 29) / (kPageSize * kColumns);
  const size_t bytes = static_cast<size_t>(kPages * kPageSize * kColumns) * 2;
  DeviceBuffer pool(bytes);
  const std::vector<int64_t> slots = {0, kPages * kPageSize - 1, kPages * kPageSize / 2};
  DeviceBuffer ids(slots.size() * sizeof(int64_t));
  DeviceBuffer out(slots.size() * kColumns * 2);
  must(cudaMemcpy(ids.as<void>(), slots.data(), slots.size() * sizeof(int64_t),
                  cudaMemcpyHostToDevice),
       "cudaMemcpy");
  for (size_t i = 0; i < slots.size(); ++i) {
    must(cudaMemset(pool.as<char>() + slots[i] * kColumns * 2, static_cast<int>(i + 1),
                    kColumns * 2),
         "cudaMemset");
  }
  const auto rows = static_cast<int64_t>(slots.size());
  const Gather plan({.rows = rows, .page_size = kPageSize}, {.device = kDevice});
  plan.run({.kv_cache = make_tensor(pool.as<void>(), SEESAW_BFLOAT16, {kPages, kPageSize, kColumns},
                                    kDevice),
            .slots = make_tensor(ids.as<void>(), SEESAW_INT64, {rows}, kDevice),
            .out = make_tensor(out.as<void>(), SEESAW_BFLOAT16, {rows, kColumns}, kDevice)},
           {});
  std::vector<unsigned char> got(slots.size() * kColumns * 2);
  must(cudaMemcpy(got.data(), out.as<void>(), got.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i], i / (kColumns * 2) + 1);
  }
}

}  // namespace
}  // namespace seesaw::gpu_test
