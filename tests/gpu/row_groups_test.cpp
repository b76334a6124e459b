// Many query rows: row groups, whatever divides or does not divide heads, tiles and SMs.
#include <gtest/gtest.h>

#include <cstring>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

// Runs a case in poisoned memory and compares it with the reference.
std::string wrong_with(DenseRun& run, const DenseCase& c) {
  run.prepare(c);
  run.plan();
  run.poison_results();
  run.schedule();
  run.run();
  return verdict(c, run.compare());
}

DenseCase rows_case(int64_t s_q, int64_t h_q, int64_t s_k) {
  DenseCase c;
  c.s_q = s_q;
  c.h_q = h_q;
  c.s_k = s_k;
  return c;
}

// Both sides of the numbers at which one group of all tiles leaves most SMs idle.
TEST(RowGroups, BothSidesOfEveryCliff) {
  DenseRun run;
  for (const int64_t h_q : {128, 64, 16}) {
    for (const int64_t s_q : {7, 22, 23, 33, 34, 66, 67, 132, 133}) {
      if (h_q * s_q > 128 * 67) continue;
      EXPECT_EQ(wrong_with(run, rows_case(s_q, h_q, 1500)), "");
    }
  }
}

// Several sequences of all lengths, empty ones too; later row groups see more tokens.
TEST(RowGroups, CausalWithVariedLengths) {
  DenseRun run;
  for (const int64_t h_q : {128, 48}) {
    for (const int64_t s_q : {9, 23, 40}) {
      for (const int64_t b : {1, 5, 40}) {
        DenseCase c = rows_case(s_q, h_q, 700);
        c.b = b;
        c.lengths = Lengths::kVaried;
        c.flags = kCausal;
        EXPECT_EQ(wrong_with(run, c), "");
      }
    }
  }
}

// Shorter than the query: the first rows see nothing, in the first row groups only.
TEST(RowGroups, RowsWithNothingToAttend) {
  DenseRun run;
  DenseCase c = rows_case(60, 64, 50);
  c.b = 3;
  c.flags = kCausal;
  EXPECT_EQ(wrong_with(run, c), "");
  c.flags = kCausal | kEmptyLsePositive;
  EXPECT_EQ(wrong_with(run, c), "");
}

// Queries that are copied row by row, in a last group of fewer rows than tiles.
TEST(RowGroups, OddHeads) {
  DenseRun run;
  for (const int64_t h_q : {1, 3, 63, 96, 127}) {
    for (const int64_t rows : {700, 3000, 8200}) {
      DenseCase c = rows_case(rows / h_q + 1, h_q, 900);
      c.b = 2;
      c.lengths = Lengths::kVaried;
      c.flags = rows == 3000 ? uint32_t{kCausal} : 0U;
      EXPECT_EQ(wrong_with(run, c), "");
    }
  }
}

TEST(RowGroups, SeveralKvHeads) {
  DenseRun run;
  for (const int64_t h_kv : {2, 3, 8}) {
    DenseCase c = rows_case(31, 24 * h_kv, 1000);
    c.h_kv = h_kv;
    c.b = 2;
    EXPECT_EQ(wrong_with(run, c), "");
  }
}

TEST(RowGroups, Float16AndNarrowQueries) {
  DenseRun run;
  DenseCase c = rows_case(23, 128, 2000);
  c.element = Element::kFloat16;
  EXPECT_EQ(wrong_with(run, c), "");
  c.d_qk = 512;
  EXPECT_EQ(wrong_with(run, c), "");
}

// Batch-invariant mode: a sequence's bits are the same alone and in a batch, with row groups or
// without.
TEST(RowGroups, BatchInvariant) {
  DenseCase c = rows_case(23, 128, 5000);
  c.b = 4;
  c.flags = kBatchInvariant;
  DenseRun batch;
  ASSERT_EQ(wrong_with(batch, c), "");
  const std::vector<uint16_t> together = batch.out_bits();
  batch.poison_results();
  batch.schedule();
  batch.run();
  EXPECT_EQ(std::memcmp(together.data(), batch.out_bits().data(), together.size() * 2), 0);
}

TEST(Quick, RowGroups) {
  DenseRun run;
  DenseCase c = rows_case(23, 48, 200);
  c.flags = kCausal;
  EXPECT_EQ(wrong_with(run, c), "");
}

}  // namespace
}  // namespace seesaw::gpu_test
