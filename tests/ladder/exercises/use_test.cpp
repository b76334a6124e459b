// Exercises of level 1, "use" (docs/guide/12-exercises.md), solved.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "seesaw/ops/dense_decode.h"

namespace {

// A small deterministic sequence in [-1, 1].
double wave(int64_t i) { return std::sin(0.7 * static_cast<double>(i) + 0.1); }

// 1.1 Absorption. One head, dimensions (nope, rope, v, latent) = (6, 4, 5, 8), seven cached tokens.
TEST(Exercise11, AbsorbedEqualsExpanded) {
  constexpr int kNope = 6, kRope = 4, kValue = 5, kLatent = 8, kTokens = 7;
  const auto up_key = [](int row, int column) { return wave(100 + row * kLatent + column); };
  const auto up_value = [](int row, int column) { return wave(300 + row * kLatent + column); };
  const auto latent = [](int token, int i) { return wave(500 + token * kLatent + i); };
  const auto key_rope = [](int token, int i) { return wave(700 + token * kRope + i); };
  const auto query = [](int i) { return wave(i); };  // nope, then rope
  const double scale = 1.0 / std::sqrt(kNope + kRope);

  double expanded_score[kTokens], absorbed_score[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    double rope = 0.0;
    for (int i = 0; i < kRope; ++i) {
      rope += query(kNope + i) * key_rope(t, i);
    }
    expanded_score[t] = rope;  // k = W_UK c, then q . k
    for (int row = 0; row < kNope; ++row) {
      double key = 0.0;
      for (int i = 0; i < kLatent; ++i) {
        key += up_key(row, i) * latent(t, i);
      }
      expanded_score[t] += query(row) * key;
    }
    absorbed_score[t] = rope;  // q' = W_UK^T q, then q' . c
    for (int i = 0; i < kLatent; ++i) {
      double absorbed = 0.0;
      for (int row = 0; row < kNope; ++row) {
        absorbed += up_key(row, i) * query(row);
      }
      absorbed_score[t] += absorbed * latent(t, i);
    }
    EXPECT_NEAR(absorbed_score[t], expanded_score[t], 1e-12);
  }

  double sum = 0.0;
  for (const double score : absorbed_score) {
    sum += std::exp(scale * score);
  }
  for (int row = 0; row < kValue; ++row) {
    double expanded = 0.0;  // sum of a_t (W_UV c_t)
    double absorbed = 0.0;  // W_UV (sum of a_t c_t)
    for (int t = 0; t < kTokens; ++t) {
      for (int i = 0; i < kLatent; ++i) {
        expanded += std::exp(scale * expanded_score[t]) / sum * up_value(row, i) * latent(t, i);
      }
    }
    for (int i = 0; i < kLatent; ++i) {
      double mixed = 0.0;
      for (int t = 0; t < kTokens; ++t) {
        mixed += std::exp(scale * absorbed_score[t]) / sum * latent(t, i);
      }
      absorbed += up_value(row, i) * mixed;
    }
    EXPECT_NEAR(absorbed, expanded, 1e-12);
  }
}

constexpr int64_t kHeads = 4;
constexpr int64_t kPageSize = 16;
constexpr int64_t kPages = 8;

// One sequence on the CPU through the public API, float32.
struct Decoded {
  std::vector<float> out = std::vector<float>(kHeads * 512);
  std::vector<float> lse = std::vector<float>(kHeads);
};

std::vector<float> make_query() {
  std::vector<float> q(kHeads * 576);
  for (size_t i = 0; i < q.size(); ++i) {
    q[i] = static_cast<float>(wave(static_cast<int64_t>(i)));
  }
  return q;
}

std::vector<float> make_cache() {
  std::vector<float> cache(kPages * kPageSize * 576);
  for (size_t i = 0; i < cache.size(); ++i) {
    cache[i] = static_cast<float>(wave(7919 + 3 * static_cast<int64_t>(i)));
  }
  return cache;
}

// 1.2 Decode `tokens` tokens that lie in the pages [first_page, ...).
Decoded decode(int32_t first_page, int32_t tokens) {
  const std::vector<float> q = make_query();
  const std::vector<float> cache = make_cache();
  std::vector<int32_t> table(kPages);
  for (int32_t i = 0; i < kPages; ++i) {
    table[static_cast<size_t>(i)] = static_cast<int32_t>((first_page + i) % kPages);
  }
  Decoded result;
  seesaw_dense_decode_problem problem;
  problem.q_dtype = SEESAW_FLOAT32;
  problem.batch = 1;
  problem.h_q = kHeads;
  problem.page_size = kPageSize;
  problem.max_pages_per_sequence = kPages;
  const seesaw::DenseDecode plan(problem);
  const seesaw::AlignedBuffer schedule(plan.schedule_bytes());
  const seesaw::AlignedBuffer workspace(plan.workspace_bytes());
  seesaw_call call;
  call.schedule = schedule.data();
  call.schedule_bytes = schedule.size();
  call.workspace = workspace.data();
  call.workspace_bytes = workspace.size();
  seesaw_dense_decode_args args;
  args.q = seesaw::make_tensor(q.data(), SEESAW_FLOAT32, {1, 1, kHeads, 576});
  args.kv_cache = seesaw::make_tensor(cache.data(), SEESAW_FLOAT32, {kPages, kPageSize, 1, 576});
  args.block_table = seesaw::make_tensor(table.data(), SEESAW_INT32, {1, kPages});
  args.seq_lens = seesaw::make_tensor(&tokens, SEESAW_INT32, {1});
  args.out = seesaw::make_tensor(result.out.data(), SEESAW_FLOAT32, {1, 1, kHeads, 512});
  args.lse = seesaw::make_tensor(result.lse.data(), SEESAW_FLOAT32, {1, kHeads, 1});
  args.scale = 0.05F;
  plan.prepare(args, call);
  plan.run(args, call);
  return result;
}

TEST(Exercise12, TheLibraryAgreesWithAPlainLoop) {
  constexpr int kTokens = 37;
  const Decoded decoded = decode(0, kTokens);
  const std::vector<float> q = make_query();
  const std::vector<float> cache = make_cache();
  for (int64_t h = 0; h < kHeads; ++h) {
    double sum = 0.0;
    std::vector<double> out(512, 0.0);
    for (int64_t t = 0; t < kTokens; ++t) {
      double score = 0.0;
      for (int64_t c = 0; c < 576; ++c) {
        score += static_cast<double>(q[static_cast<size_t>(h * 576 + c)]) *
                 static_cast<double>(cache[static_cast<size_t>(t * 576 + c)]);
      }
      const double weight = std::exp(static_cast<double>(0.05F) * score);
      sum += weight;
      for (int64_t c = 0; c < 512; ++c) {
        out[static_cast<size_t>(c)] +=
            weight * static_cast<double>(cache[static_cast<size_t>(t * 576 + c)]);
      }
    }
    EXPECT_NEAR(static_cast<double>(decoded.lse[static_cast<size_t>(h)]), std::log(sum), 1e-4);
    for (int64_t c = 0; c < 512; ++c) {
      EXPECT_NEAR(static_cast<double>(decoded.out[static_cast<size_t>(h * 512 + c)]),
                  out[static_cast<size_t>(c)] / sum, 1e-4);
    }
  }
}

// 1.3 Two halves of a sequence, decoded apart, make the whole: weights exp(lse - lse_whole).
TEST(Exercise13, TwoHalvesMakeTheWhole) {
  const Decoded whole = decode(0, 5 * kPageSize);
  const Decoded first = decode(0, 2 * kPageSize);
  const Decoded second = decode(2, 3 * kPageSize);
  for (size_t h = 0; h < kHeads; ++h) {
    const double larger = std::fmax(first.lse[h], second.lse[h]);
    const double w1 = std::exp(static_cast<double>(first.lse[h]) - larger);
    const double w2 = std::exp(static_cast<double>(second.lse[h]) - larger);
    EXPECT_NEAR(larger + std::log(w1 + w2), static_cast<double>(whole.lse[h]), 1e-4);
    for (size_t c = 0; c < 512; ++c) {
      const double merged = (w1 * static_cast<double>(first.out[h * 512 + c]) +
                             w2 * static_cast<double>(second.out[h * 512 + c])) /
                            (w1 + w2);
      EXPECT_NEAR(merged, static_cast<double>(whole.out[h * 512 + c]), 1e-4);
    }
  }
}

}  // namespace
