// The contract line by line, where a grid of shapes does not reach.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

DenseCase base_case() {
  DenseCase c;
  c.b = 6;
  c.s_q = 2;
  c.s_k = 1500;
  c.h_q = 64;
  c.lengths = Lengths::kVaried;
  return c;
}

void run_all(DenseRun& run) {
  run.poison_results();
  run.schedule();
  run.run();
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

TEST(Contract, NegativeLengthsCountAsZero) {
  DenseRun run;
  const DenseCase c = base_case();
  run.prepare(c, {700, -1, 3, INT32_MIN, 0, 64});
  run.plan();
  run_all(run);
  EXPECT_EQ(verdict(c, run.compare()), "");
}

TEST(Contract, EmptyRowsAreZeroAndMinusInfinityOrPlusByFlag) {
  for (const bool positive : {false, true}) {
    DenseCase c = base_case();
    c.s_q = 4;
    c.flags = kCausal | (positive ? uint32_t{kEmptyLsePositive} : 0U);
    DenseRun run;
    run.prepare(c, {0, 1, 2, 3, 4, 1500});  // token i of s_q sees seq_len - 3 + i keys
    run.plan();
    run_all(run);
    EXPECT_EQ(verdict(c, run.compare()), "");
    const std::vector<float> lse = run.lse();
    EXPECT_EQ(lse[0], positive ? INFINITY : -INFINITY);
    EXPECT_EQ(run.out_bits()[0], 0);
  }
}

TEST(Contract, LseInBaseTwo) {
  DenseCase c = base_case();
  c.flags = kLseBase2;
  DenseRun run;
  run.prepare(c);
  run.plan();
  run_all(run);
  EXPECT_EQ(verdict(c, run.compare()), "");
}

TEST(Contract, LseMayBeAbsent) {
  const DenseCase c = base_case();
  DenseRun run;
  run.prepare(c);
  run.plan();
  run_all(run);
  const std::vector<uint16_t> with_lse = run.out_bits();
  run.poison_results();
  const seesaw_tensor lse = run.tensors().lse;
  run.tensors().lse = {};
  run.run();
  run.tensors().lse = lse;
  EXPECT_TRUE(same_bits(run.out_bits(), with_lse));
  const std::vector<float> untouched = run.lse();
  EXPECT_TRUE(
      std::all_of(untouched.begin(), untouched.end(), [](float x) { return std::isnan(x); }));
}

TEST(Contract, RepeatsAreBitIdentical) {
  DenseCase c = base_case();
  c.b = 40;
  c.s_k = 5000;
  DenseRun run;
  run.prepare(c);
  run.plan();
  run_all(run);
  const std::vector<uint16_t> out = run.out_bits();
  const std::vector<float> lse = run.lse();
  for (int repeat = 0; repeat < 20; ++repeat) {
    run_all(run);
    ASSERT_TRUE(same_bits(run.out_bits(), out)) << repeat;
    ASSERT_TRUE(same_bits(run.lse(), lse)) << repeat;
  }
}

TEST(Contract, BatchInvariantResultsDoNotDependOnTheBatch) {
  DenseCase c = base_case();
  c.b = 30;
  c.s_k = 9000;
  c.flags = kBatchInvariant;
  DenseRun run;
  const std::vector<int32_t> lengths = make_lengths(c);
  run.prepare(c, lengths);
  run.plan();
  run_all(run);
  const std::vector<uint16_t> all = run.out_bits();
  const std::vector<float> all_lse = run.lse();
  const size_t row = static_cast<size_t>(c.s_q * c.h_q * 512);
  const size_t lse_row = static_cast<size_t>(c.s_q * c.h_q);
  const seesaw_dense_decode_args whole = run.tensors();
  for (const int64_t sequence : {int64_t{0}, int64_t{7}, int64_t{29}}) {
    seesaw_dense_decode_args& one = run.tensors();
    one = whole;
    const auto take = [&](seesaw_tensor& tensor, int64_t size) {
      tensor.data = static_cast<char*>(tensor.data) + sequence * tensor.stride[0] * size;
      tensor.shape[0] = 1;
    };
    take(one.q, 2);
    take(one.out, 2);
    take(one.lse, 4);
    take(one.seq_lens, 4);
    take(one.block_table, 4);
    run_all(run);
    const std::vector<uint16_t> alone = run.out_bits();
    const std::vector<float> alone_lse = run.lse();
    const size_t i = static_cast<size_t>(sequence);
    EXPECT_EQ(std::memcmp(&alone[i * row], &all[i * row], row * 2), 0) << sequence;
    EXPECT_EQ(std::memcmp(&alone_lse[i * lse_row], &all_lse[i * lse_row], lse_row * 4), 0)
        << sequence;
  }
}

TEST(Contract, ASmallerBatchThanPlanned) {
  DenseCase c = base_case();
  c.max_batch = 33;
  c.max_tokens = 9000;
  DenseRun run;
  run.prepare(c);
  run.plan();
  run_all(run);
  EXPECT_EQ(verdict(c, run.compare()), "");
}

TEST(Contract, AnEmptyBatchDoesNothing) {
  DenseCase c = base_case();
  DenseRun run;
  run.prepare(c, {});
  run.plan();
  run.schedule();
  run.run();
  run.stream().wait();
}

TEST(Contract, StridesAsGiven) {
  DenseCase c = base_case();
  c.row_padding = 64;
  c.token_padding = 64;
  DenseRun run;
  run.prepare(c);
  run.plan();
  run_all(run);
  EXPECT_EQ(verdict(c, run.compare()), "");
  // What lies between the rows of out must still be poison.
  const std::vector<uint16_t> out = run.out_bits();
  const int64_t row = c.h_q * 512 + c.row_padding;
  int64_t touched = 0;
  for (int64_t r = 0; r < c.b * c.s_q; ++r) {
    for (int64_t e = c.h_q * 512; e < row; ++e) {
      touched += out[static_cast<size_t>(r * row + e)] != 0xFFFF;
    }
  }
  EXPECT_EQ(touched, 0);
}

// Writes `bits` at one element of a device tensor.
void put(const seesaw_tensor& tensor, int64_t offset, uint16_t bits) {
  must(cudaMemcpy(static_cast<uint16_t*>(tensor.data) + offset, &bits, 2, cudaMemcpyHostToDevice),
       "cudaMemcpy");
}

TEST(Contract, AttendedNansAreNeverHidden) {
  constexpr uint16_t kNan = 0x7FC0;
  DenseCase c = base_case();
  c.lengths = Lengths::kFixed;
  c.s_k = 3000;
  // [where the NaN goes: q, a key's rotary column, a value column]
  for (const int where : {0, 1, 2}) {
    DenseRun run;
    run.prepare(c);
    run.plan();
    run.stream().wait();
    if (where == 0) {
      put(run.tensors().q, run.tensors().q.stride[0] * 2 + 5 * c.d_qk + 100, kNan);
    } else {
      const int64_t token = 1234;
      const int64_t page = run.block_table()[static_cast<size_t>(
          2 * run.tensors().block_table.shape[1] + token / c.page_size)];
      put(run.tensors().kv_cache,
          page * run.tensors().kv_cache.stride[0] +
              token % c.page_size * run.tensors().kv_cache.stride[1] + (where == 1 ? 570 : 3),
          kNan);
    }
    run_all(run);
    EXPECT_EQ(verdict(c, run.compare()), "") << where;  // NaN exactly where the truth has it
    EXPECT_TRUE(std::isnan(run.lse()[static_cast<size_t>((2 * c.h_q + 5) * c.s_q)])) << where;
  }
}

TEST(Contract, WhatLiesPastTheEndIsNeverRead) {
  // The harness leaves NaN in dead slots and impossible ids in dead table entries; here the live
  // part ends in the first tile of a page of four, and one token into a page.
  DenseCase c = base_case();
  c.page_size = 256;
  DenseRun run;
  run.prepare(c, {257, 1, 255, 256, 64, 65});
  run.plan();
  run_all(run);
  EXPECT_EQ(verdict(c, run.compare()), "");
}

}  // namespace
}  // namespace seesaw::gpu_test
