// The grid of shapes, every one against the double reference. Quick.* is a handful of shapes that
// compute-sanitizer can also afford.
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

// Runs cases one after the other in the same device memory and keeps the first few failures.
class Sweep {
 public:
  void run(const DenseCase& c) {
    ++cases_;
    memory_.prepare(c);
    memory_.plan();
    memory_.poison_results();
    memory_.schedule();
    memory_.run();
    const Difference difference = memory_.compare();
    worst_out_ = std::max(worst_out_, difference.max_out_error);
    worst_lse_ = std::max(worst_lse_, difference.max_lse_error);
    const std::string wrong = verdict(c, difference);
    if (!wrong.empty() && ++failures_ <= 10) {
      ADD_FAILURE() << wrong;
    }
  }

  void finish() const {
    EXPECT_EQ(failures_, 0) << "of " << cases_ << " cases";
    testing::Test::RecordProperty("cases", std::to_string(cases_));
    std::printf("%d cases, largest |error| of out %.3g, of lse %.3g\n", cases_, worst_out_,
                worst_lse_);
  }

 private:
  DenseRun memory_;
  int cases_ = 0;
  int failures_ = 0;
  double worst_out_ = 0.0;
  double worst_lse_ = 0.0;
};

struct Heads {
  int64_t h_q;
  int64_t h_kv;
};

// Every h_q of the grid with every h_kv that divides it.
std::vector<Heads> all_heads() {
  std::vector<Heads> heads;
  for (const int64_t h_kv : {1, 2, 3}) {
    for (const int64_t h_q : {1, 3, 9, 16, 63, 64, 126, 128}) {
      if (h_q % h_kv == 0) {
        heads.push_back({h_q, h_kv});
      }
    }
  }
  return heads;
}

// One length of the grid, all other dimensions.
class Grid : public testing::TestWithParam<int64_t> {};

TEST_P(Grid, MatchesTheReference) {
  Sweep sweep;
  uint64_t seed = 1;
  for (const int64_t b : {1, 2, 6, 64, 128}) {
    for (const int64_t s_q : {1, 2, 3, 4, 5}) {
      for (const Heads& heads : all_heads()) {
        for (const Lengths lengths : {Lengths::kFixed, Lengths::kVaried}) {
          for (const uint32_t flags : {0U, uint32_t{kCausal}}) {
            DenseCase c;
            c.b = b;
            c.s_q = s_q;
            c.s_k = GetParam();
            c.h_q = heads.h_q;
            c.h_kv = heads.h_kv;
            c.lengths = lengths;
            c.flags = flags;
            c.element = seed % 4 == 0 ? Element::kFloat16 : Element::kBFloat16;
            c.seed = seed++;
            sweep.run(c);
          }
        }
      }
    }
  }
  sweep.finish();
}

INSTANTIATE_TEST_SUITE_P(Length, Grid, testing::Values(0, 1, 20, 63, 64, 65, 140, 4096));

TEST(Quick, SmallShapes) {
  Sweep sweep;
  uint64_t seed = 1;
  for (const Element element : {Element::kBFloat16, Element::kFloat16}) {
    for (const int64_t s_k : {1, 65, 330}) {
      for (const int64_t h_q : {3, 16, 128}) {
        DenseCase c;
        c.b = 3;
        c.s_q = h_q == 16 ? 2 : 1;
        c.s_k = s_k;
        c.h_q = h_q;
        c.lengths = Lengths::kVaried;
        c.flags = kCausal;
        c.element = element;
        c.seed = seed++;
        sweep.run(c);
      }
    }
  }
  sweep.finish();
}

TEST(Quick, BatchInvariantWithSeveralSplits) {
  Sweep sweep;
  DenseCase c;
  c.b = 2;
  c.s_k = 4500;
  c.h_q = 16;
  c.flags = kBatchInvariant;
  sweep.run(c);
  sweep.finish();
}

TEST(Shapes, PagesOfSeveralTiles) {
  Sweep sweep;
  for (const int64_t page_size : {128, 192, 256, 1024}) {
    for (const int64_t s_k : {1, 64, 129, 700, 3000}) {
      DenseCase c;
      c.b = 5;
      c.s_q = 2;
      c.s_k = s_k;
      c.h_q = 64;
      c.page_size = page_size;
      c.lengths = Lengths::kVaried;
      c.flags = kCausal;
      c.seed = static_cast<uint64_t>(page_size + s_k);
      sweep.run(c);
    }
  }
  sweep.finish();
}

TEST(Shapes, LatentWithoutRotaryColumns) {
  Sweep sweep;
  for (const int64_t s_k : {1, 64, 700, 3000}) {
    for (const int64_t h_q : {1, 16, 128}) {
      DenseCase c;
      c.b = 4;
      c.s_k = s_k;
      c.h_q = h_q;
      c.d_qk = 512;
      c.lengths = Lengths::kVaried;
      c.seed = static_cast<uint64_t>(h_q + s_k);
      sweep.run(c);
    }
  }
  sweep.finish();
}

// Scores spread by up to 40: the running maximum grows often and by much, and few keys matter.
TEST(Shapes, PeakedScores) {
  Sweep sweep;
  for (const Element element : {Element::kBFloat16, Element::kFloat16}) {
    for (const float sigma : {10.0F, 100.0F, 400.0F}) {
      for (const int64_t s_k : {100, 1000, 5000}) {
        DenseCase c;
        c.b = 4;
        c.s_k = s_k;
        c.h_q = 128;
        c.q_sigma = sigma;  // scores spread by sigma / 10
        c.element = element;
        c.seed = static_cast<uint64_t>(s_k);
        sweep.run(c);
      }
    }
  }
  sweep.finish();
}

// Values that are not scaled down: N(0, 1), and 3 N(0, 1), whose rows see nearly one key.
TEST(Shapes, UnscaledValues) {
  Sweep sweep;
  for (const Element element : {Element::kBFloat16, Element::kFloat16}) {
    for (const float sigma : {1.0F, 3.0F}) {
      for (const int64_t s_k : {100, 4096}) {
        DenseCase c;
        c.b = 4;
        c.s_k = s_k;
        c.h_q = 128;
        c.q_sigma = sigma;
        c.kv_sigma = sigma;
        c.element = element;
        c.seed = static_cast<uint64_t>(s_k);
        sweep.run(c);
      }
    }
  }
  sweep.finish();
}

TEST(Shapes, LongSequences) {
  Sweep sweep;
  for (const int64_t b : {1, 3, 40}) {
    for (const int64_t h_q : {16, 128}) {
      for (const uint32_t flags : {0U, uint32_t{kBatchInvariant}}) {
        DenseCase c;
        c.b = b;
        c.s_q = 2;
        c.s_k = 20000;
        c.h_q = h_q;
        c.lengths = Lengths::kVaried;
        c.flags = flags | kCausal;
        sweep.run(c);
      }
    }
  }
  sweep.finish();
}

}  // namespace
}  // namespace seesaw::gpu_test
