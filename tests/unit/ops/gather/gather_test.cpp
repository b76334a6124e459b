// gather on the CPU against its definition: formats, page sizes, strides, both ways to say which
// tokens, rows that nobody has, pools beyond 2^31 elements, bad input.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <limits>

#include "support/gather_case.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

class GatherRows : public ::testing::TestWithParam<const char*> {
 protected:
  seesaw_options options() const { return {.num_threads = 2, .kernel = GetParam()}; }

  void run(GatherCase& the_case) const {
    Gather(the_case.problem(), options()).run(the_case.host_args(), {});
  }
  void expect_gathered(const GatherSpec& spec) const {
    GatherCase the_case(spec);
    run(the_case);
    EXPECT_EQ(the_case.compare(), "");
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, GatherRows, ::testing::Values("cpu.gather", "reference.gather"));

constexpr int32_t kOutTypes[] = {0, SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16};

TEST_P(GatherRows, EveryFormatAndPageSize) {
  for (const int32_t format : every_format()) {
    for (const int64_t page_size : {1, 16, 61, 64, 256}) {
      for (const int32_t out_dtype : kOutTypes) {
        for (const GatherBy by : {GatherBy::kPages, GatherBy::kSlots}) {
          expect_gathered({.format = format,
                           .out_dtype = out_dtype,
                           .by = by,
                           .page_size = page_size,
                           .lengths = {17, 0, 1, 66}});
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

TEST_P(GatherRows, PlainFormatsHaveAnyColumns) {
  for (const int64_t columns : {1, 7, 128, 577}) {
    for (const int32_t format : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
      for (const int32_t out_dtype : kOutTypes) {
        expect_gathered({.format = format, .out_dtype = out_dtype, .columns = columns});
      }
    }
  }
}

TEST_P(GatherRows, EmptySequencesAndStarts) {
  expect_gathered({.page_size = 16, .lengths = {0, 0, 5, 0, 40, 0, 0}});
  expect_gathered({.page_size = 16, .lengths = {0, 33, 0, 1}, .starts = {900, 15, 0, 16}});
  expect_gathered({.lengths = {0, 0, 0}});
  expect_gathered({.lengths = {}});
  expect_gathered({.by = GatherBy::kSlots, .lengths = {}});
  expect_gathered({.lengths = {}, .rows_behind = 0});
}

TEST_P(GatherRows, FewerThanPlanned) {
  expect_gathered({.sparse_batch = true});
  expect_gathered({.by = GatherBy::kNarrowSlots, .sparse_batch = true});
}

TEST_P(GatherRows, SlotsOf32Bits) {
  expect_gathered({.format = SEESAW_FORMAT_FP8_584, .by = GatherBy::kNarrowSlots});
  expect_gathered({.out_dtype = SEESAW_FLOAT32, .by = GatherBy::kNarrowSlots, .vector_stride = 2});
}

// A pool of 6 GiB of addresses, of which three pages are there.
TEST_P(GatherRows, PoolsBeyondTwoToTheThirtyOneElements) {
  constexpr int64_t kPageSize = 64;
  constexpr int64_t kColumns = 576;
  constexpr int64_t kPages = (int64_t{3} << 30) / (kPageSize * kColumns);
  constexpr size_t kBytes = kPages * kPageSize * kColumns * sizeof(uint16_t);
  void* const pool = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pool == MAP_FAILED) {
    GTEST_SKIP() << "no 6 GiB of addresses";
  }
  int64_t slots[] = {0, kPages * kPageSize - 1, kPages * kPageSize / 2};
  for (const int64_t slot : slots) {
    for (int64_t c = 0; c < kColumns; ++c) {
      static_cast<uint16_t*>(pool)[slot * kColumns + c] = static_cast<uint16_t>(slot * 7 + c);
    }
  }
  std::vector<uint16_t> out(std::size(slots) * kColumns);
  const Gather plan({.rows = std::size(slots), .page_size = kPageSize}, options());
  plan.run({.kv_cache = make_tensor(pool, SEESAW_BFLOAT16, {kPages, kPageSize, kColumns}),
            .slots = make_tensor(slots, SEESAW_INT64, {std::size(slots)}),
            .out = make_tensor(out.data(), SEESAW_BFLOAT16, {std::size(slots), kColumns})},
           {});
  for (size_t r = 0; r < std::size(slots); ++r) {
    for (int64_t c = 0; c < kColumns; ++c) {
      ASSERT_EQ(out[r * kColumns + static_cast<size_t>(c)],
                static_cast<uint16_t>(slots[r] * 7 + c));
    }
  }
  munmap(pool, kBytes);
}

// ---- mistakes: nothing is written

class GatherErrors : public ::testing::TestWithParam<const char*> {
 protected:
  // Runs a case after `spoil(case, args)`; expects the refusal, and out as it was.
  template <typename Spoil>
  void expect_refused(const GatherSpec& spec, const std::string& words, Spoil spoil,
                      seesaw_status status = SEESAW_INVALID_ARGUMENT) const {
    GatherCase the_case(spec);
    const Gather plan(the_case.problem(), {.kernel = GetParam()});
    seesaw_gather_args args = the_case.host_args();
    spoil(the_case, args);
    const seesaw_call call{};
    expect_refusal(status, words, seesaw_gather_run(plan.get(), &args, &call));
    the_case.expect_nothing_written();
    EXPECT_EQ(the_case.compare(), "");
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, GatherErrors,
                         ::testing::Values("cpu.gather", "reference.gather"));

TEST_P(GatherErrors, LengthsAndPagesAreCheckedBeforeAnythingIsWritten) {
  const GatherSpec spec{.lengths = {3, 70, 0, 5}, .starts = {0, 64, 0, 0}};
  expect_refused(spec, "cu_seq_lens[0] = 1", [](auto& c, auto&) { c.first_row(0) = 1; });
  expect_refused(spec, "cu_seq_lens[3] = 2", [](auto& c, auto&) { c.first_row(3) = 2; });
  expect_refused(spec, "cu_seq_lens[4] = 82", [](auto& c, auto&) { c.first_row(4) = 82; });
  expect_refused(spec, "starts[1] = -1", [](auto& c, auto&) { c.starts[1] = -1; });
  expect_refused(spec, "sequence 1 has 70 tokens from 150 on",
                 [](auto& c, auto&) { c.starts[1] = 150; });
  expect_refused(spec, "block_table[3, 0] = -1", [](auto& c, auto&) { c.page(3, 0) = -1; });
  expect_refused(spec, "block_table[1, 2] = ", [](auto& c, auto&) {
    c.page(1, 2) = static_cast<int32_t>(c.num_pages());
  });
  expect_refused(spec, "sequence 0 has 3 tokens", [](auto&, auto& args) {
    args.block_table = make_tensor(nullptr, SEESAW_INT32, {4, 0});
  });
}

TEST_P(GatherErrors, OneOfTwoWaysToSayWhichTokens) {
  int64_t slots[200] = {};
  const seesaw_tensor none{};
  const auto with_slots = [&](auto&, auto& args) {
    args.slots = make_tensor(slots, SEESAW_INT64, {args.out.shape[0]});
  };
  expect_refused({.lengths = {9}}, "slots and tensors of a block table", with_slots);
  expect_refused({.lengths = {9}}, "neither slots nor block_table",
                 [&](auto&, auto& args) { args.block_table = args.cu_seq_lens = none; });
  expect_refused({.lengths = {9}}, "block_table without cu_seq_lens",
                 [&](auto&, auto& args) { args.cu_seq_lens = none; });
  expect_refused({.lengths = {9}}, "no block_table",
                 [&](auto&, auto& args) { args.block_table = none; });
  expect_refused({.lengths = {9}}, "slots and tensors of a block table", [&](auto& c, auto& args) {
    with_slots(c, args);
    args.block_table = none;
  });
}

TEST_P(GatherErrors, ShapesMustFit) {
  expect_refused({}, "cu_seq_lens has shape [5]",
                 [](auto&, auto& args) { args.cu_seq_lens.shape[0] = 5; });
  // Without memory the block table is not given, whatever its shape says.
  constexpr int64_t kLarge = std::numeric_limits<int64_t>::max();
  expect_refused({}, "no block_table", [&](auto&, auto& args) {
    args.block_table = make_tensor(nullptr, SEESAW_INT32, {-kLarge, kLarge});
  });
  expect_refused({}, "cu_seq_lens has shape", [&](auto&, auto& args) {
    args.block_table = make_tensor(nullptr, SEESAW_INT32, {kLarge, 0});
  });
  expect_refused({}, "starts has shape [6]", [](auto& c, auto& args) {
    args.starts = make_tensor(c.starts.data(), SEESAW_INT32, {6});
  });
  expect_refused({.by = GatherBy::kSlots}, "out has shape",
                 [](auto&, auto& args) { args.out.shape[0] -= 1; });
  expect_refused({}, "n = out.shape[0]", [](auto&, auto& args) { args.out.shape[0] += 1; });
  expect_refused({.format = SEESAW_FORMAT_FP8_576}, "kv_scale has shape [2]",
                 [](auto&, auto& args) { args.kv_scale.shape[0] = 2; });
  expect_refused(
      {.by = GatherBy::kSlots}, "slots has dtype int32",
      [](auto&, auto& args) { args.slots.dtype = SEESAW_INT32; }, SEESAW_INVALID_TYPE);
}

TEST(GatherProblem, DefaultsFollowTheFormat) {
  const auto defaults = [](seesaw_gather_problem problem, const char* tensor_error) {
    problem.rows = 1;
    const Gather plan(problem);
    unsigned char byte[8] = {};
    seesaw_gather_args args;
    args.kv_cache = make_tensor(byte, SEESAW_INT32, {0, 64, 0});
    const seesaw_call call{};
    seesaw_gather_run(plan.get(), &args, &call);
    EXPECT_NE(std::string(seesaw_last_error()).find(tensor_error), std::string::npos)
        << seesaw_last_error();
  };
  defaults({}, "= [-1, 64, 576]");
  defaults({.kv_format = SEESAW_FORMAT_FP8_584, .page_size = 64}, "= [-1, 64, 584]");
  defaults({.kv_format = SEESAW_FLOAT32, .kv_columns = 320}, "= [-1, 64, 320]");
}

TEST(GatherProblem, MistakesAreRefused) {
  const auto refused = [](seesaw_gather_problem problem, const char* words,
                          seesaw_status status = SEESAW_INVALID_ARGUMENT) {
    problem.rows = problem.rows == 0 ? 1 : problem.rows;
    seesaw_plan* plan = nullptr;
    expect_refusal(status, words, seesaw_gather_plan_create(&problem, nullptr, &plan));
  };
  refused({.rows = -1}, "rows = -1");
  refused({.out_dtype = SEESAW_UINT8}, "out_dtype = uint8 with format bfloat16",
          SEESAW_INVALID_TYPE);
  refused({.kv_format = SEESAW_FORMAT_FP8_656, .out_dtype = SEESAW_INT32}, "out_dtype = 4 (int32)",
          SEESAW_INVALID_TYPE);
  refused({.kv_format = SEESAW_FORMAT_FP8_656, .columns = 512},
          "columns = 512 with format fp8_656");
  refused({.kv_format = SEESAW_FORMAT_FP8_656, .kv_columns = 576}, "kv_columns = 576");
  refused({.kv_format = SEESAW_FORMAT_FP8_584, .kv_page_stride = 64 * 584 - 1}, "kv_page_stride");
  refused({.kv_format = SEESAW_FORMAT_FP8_584, .out_columns = 512}, "out_columns = 512");
  refused({.kv_format = SEESAW_FORMAT_FP8_584, .out_dtype = SEESAW_BFLOAT16, .out_columns = 584},
          "out_columns = 584");
  refused({.slot_dtype = SEESAW_FLOAT32}, "slot_dtype = 1 (float32)", SEESAW_INVALID_TYPE);
  refused({.kv_format = SEESAW_UINT8}, "kv_format = 6 (uint8)", SEESAW_INVALID_TYPE);
}

TEST(GatherProblem, IsReadOffTensors) {
  GatherCase the_case({.format = SEESAW_FLOAT16, .out_dtype = SEESAW_FLOAT32, .page_gap = 8});
  const seesaw_gather_problem problem = Gather::problem_of(the_case.host_args());
  EXPECT_EQ(problem.kv_format, SEESAW_FLOAT16);
  EXPECT_EQ(problem.out_dtype, SEESAW_FLOAT32);
  EXPECT_EQ(problem.rows, the_case.rows());
  EXPECT_EQ(problem.batch, the_case.batch());
  EXPECT_EQ(problem.kv_page_stride, the_case.problem().kv_page_stride);
  Gather(problem).run(the_case.host_args(), {});
  EXPECT_EQ(the_case.compare(), "");
}

}  // namespace
}  // namespace seesaw::testing
