// The layer against its equations in double: prompts and steps, forms, formats, pages, lengths.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "base/float8.hpp"
#include "files/safetensors.hpp"
#include "layers/model.hpp"
#include "seesaw/ops/gather.h"
#include "support/guarded_buffer.hpp"

namespace seesaw::testing {
namespace {

using layers::CacheShape;
using layers::DeepSeekMLA;
using layers::LatentCache;

constexpr double kFloat32Roundings = 2e-5;

// Hidden states of b sequences of n tokens.
Parameter hidden_states(int64_t b, int64_t n, int64_t d_model, seesaw_dtype dtype) {
  return parameter_of({b, n, d_model}, random_numbers("x", b * n * d_model, 1.0), dtype);
}

Rows sequence_of(const Parameter& x, int64_t b) {
  Rows rows;
  for (int64_t t = 0; t < x.shape[1]; ++t) {
    const auto first = x.values.begin() + (b * x.shape[1] + t) * x.shape[2];
    rows.emplace_back(first, first + x.shape[2]);
  }
  return rows;
}

// Tokens [begin, end) of x, a view with x's strides.
seesaw_tensor tokens_of(const Parameter& x, int64_t begin, int64_t end) {
  seesaw_tensor view = tensor_of(x);
  view.data =
      static_cast<char*>(view.data) + begin * x.shape[2] * (x.dtype == SEESAW_FLOAT32 ? 4 : 2);
  view.shape[1] = end - begin;
  return view;
}

Parameter empty_like(const Parameter& x) {
  Parameter out = x;
  std::fill(out.bytes.begin(), out.bytes.end(), GuardedBuffer::kPoisonByte);
  return out;
}

// The greatest difference over the greatest number wanted.
double difference(const Parameter& out, int64_t b, const Rows& want, int64_t first = 0) {
  const std::vector<double> got = numbers_of(out.bytes.data(), out.dtype, std::ssize(out.values));
  double greatest = 0.0;
  double error = 0.0;
  for (int64_t t = first; t < out.shape[1]; ++t) {
    for (int64_t i = 0; i < out.shape[2]; ++i) {
      const double wanted = want[static_cast<size_t>(t)][static_cast<size_t>(i)];
      const double away =
          std::fabs(got[static_cast<size_t>((b * out.shape[1] + t) * out.shape[2] + i)] - wanted);
      greatest = std::max(greatest, std::fabs(wanted));
      error = std::isnan(away) ? HUGE_VAL : std::max(error, away);
    }
  }
  return error / greatest;
}

// What the cache holds of sequence i, whose pages follow each other.
Rows cached_rows(const LatentCache& cache, int64_t i, int64_t columns, float kv_scale = 1.0F) {
  const int64_t n = cache.length();
  std::vector<int64_t> slots;
  for (int64_t t = 0; t < n; ++t) {
    slots.push_back(i * cache.capacity() + t);
  }
  std::vector<float> out(static_cast<size_t>(n * columns));
  seesaw_tensor pages = cache.pages();
  pages = make_tensor(pages.data, static_cast<seesaw_dtype>(pages.dtype),
                      {pages.shape[0], pages.shape[1], pages.shape[3]});
  const seesaw_gather_args args{.kv_cache = pages,
                                .slots = make_tensor(slots.data(), SEESAW_INT64, {n}),
                                .kv_scale = make_tensor(&kv_scale, SEESAW_FLOAT32, {1}),
                                .out = make_tensor(out.data(), SEESAW_FLOAT32, {n, columns})};
  const Gather gather(Gather::problem_of(args, {.kv_format = cache.kv_format()}));
  const AlignedBuffer workspace(gather.workspace_bytes());
  gather.run(args, {.workspace = workspace.data(), .workspace_bytes = workspace.size()});
  Rows rows;
  for (int64_t t = 0; t < n; ++t) {
    rows.emplace_back(out.begin() + t * columns, out.begin() + (t + 1) * columns);
  }
  return rows;
}

Sizes small(int variant) {
  switch (variant) {
    case 0:
      return {};
    case 1:
      return {.d_q_latent = 0, .interleaved = false};
    case 2:
      return {.has_yarn = true};
    default:
      return {.has_yarn = true, .bias = true, .yarn = {.factor = 40.0, .positions = 64}};
  }
}

TEST(DeepSeekMLA, APromptAndStepsOfOneToFourTokens) {
  for (int variant = 0; variant < 4; ++variant) {
    const Model model(small(variant), SEESAW_FLOAT32);
    const DeepSeekMLA layer = model.layer();
    const Parameter x = hidden_states(2, 30, model.sizes().d_model, SEESAW_FLOAT32);
    const Rows want[] = {model.reference(sequence_of(x, 0)), model.reference(sequence_of(x, 1))};
    for (const int64_t page_size : {1, 16, 64}) {
      for (const seesaw_mla_form form :
           {SEESAW_MLA_AUTO, SEESAW_MLA_ABSORBED, SEESAW_MLA_EXPANDED}) {
        SCOPED_TRACE(::testing::Message() << variant << " page " << page_size << " form " << form);
        LatentCache cache(layer, {.batch = 2, .capacity = 30, .page_size = page_size});
        const Parameter out = empty_like(x);
        int64_t done = 0;
        for (const int64_t s : {17, 1, 2, 3, 4, 1, 2}) {
          layer.forward(cache, tokens_of(x, done, done + s), tokens_of(out, done, done + s), form);
          done += s;
        }
        ASSERT_EQ(cache.length(), 30);
        EXPECT_LT(difference(out, 0, want[0]), kFloat32Roundings);
        EXPECT_LT(difference(out, 1, want[1]), kFloat32Roundings);
      }
    }
  }
}

TEST(DeepSeekMLA, SixteenBits) {
  for (const auto& [dtype, bound] :
       {std::pair{SEESAW_BFLOAT16, 0.03}, std::pair{SEESAW_FLOAT16, 0.004}}) {
    const Model model(small(2), dtype);
    const DeepSeekMLA layer = model.layer();
    EXPECT_EQ(layer.info().dtype, dtype);
    const Parameter x = hidden_states(1, 20, model.sizes().d_model, dtype);
    const Rows want = model.reference(sequence_of(x, 0));
    for (const seesaw_mla_form form : {SEESAW_MLA_ABSORBED, SEESAW_MLA_EXPANDED}) {
      LatentCache cache(layer, {.capacity = 20, .page_size = 16});
      const Parameter out = empty_like(x);
      layer.forward(cache, tokens_of(x, 0, 15), tokens_of(out, 0, 15), form);
      layer.forward(cache, tokens_of(x, 15, 20), tokens_of(out, 15, 20), form);
      EXPECT_LT(difference(out, 0, want), bound);
    }
  }
}

// Exactly the attention over the numbers that the cache holds, and no further from the exact one
// than the format's rounding explains.
TEST(DeepSeekMLA, EveryFormatOfItsColumns) {
  const Model model({.d_latent = 512, .d_rope = 64, .has_yarn = true}, SEESAW_FLOAT32);
  const DeepSeekMLA layer = model.layer();
  const Parameter x = hidden_states(1, 21, model.sizes().d_model, SEESAW_FLOAT32);
  const Rows exact = model.reference(sequence_of(x, 0));
  const std::pair<seesaw_format, double> formats[] = {{SEESAW_FORMAT_FLOAT32, kFloat32Roundings},
                                                      {SEESAW_FORMAT_BFLOAT16, 0.02},
                                                      {SEESAW_FORMAT_FLOAT16, 0.002},
                                                      {SEESAW_FORMAT_FP8_656, 0.15},
                                                      {SEESAW_FORMAT_FP8_576, 0.15},
                                                      {SEESAW_FORMAT_FP8_576_TOKEN, 0.15},
                                                      {SEESAW_FORMAT_INT8_644, 0.05}};
  for (const auto& [format, bound] : formats) {
    for (const int64_t page_size : {1, 16, 64}) {
      for (const seesaw_mla_form form : {SEESAW_MLA_ABSORBED, SEESAW_MLA_EXPANDED}) {
        SCOPED_TRACE(::testing::Message() << format << " page " << page_size << " form " << form);
        LatentCache cache(layer, {.capacity = 21, .page_size = page_size, .kv_format = format});
        const Parameter out = empty_like(x);
        layer.forward(cache, tokens_of(x, 0, 17), tokens_of(out, 0, 17), form);
        layer.forward(cache, tokens_of(x, 17, 21), tokens_of(out, 17, 21), form);
        const Rows rows = cached_rows(cache, 0, 576);
        EXPECT_LT(difference(out, 0, model.reference(sequence_of(x, 0), &rows)), kFloat32Roundings);
        EXPECT_LT(difference(out, 0, exact), bound);
      }
    }
  }
}

TEST(DeepSeekMLA, AScaleOfTheWholeCache) {
  const Model model({.d_latent = 512, .d_rope = 64}, SEESAW_FLOAT32);
  const DeepSeekMLA layer = model.layer();
  const Parameter x = hidden_states(1, 9, model.sizes().d_model, SEESAW_FLOAT32);
  const float kv_scale = 0.125F;
  for (const int32_t form : {SEESAW_MLA_ABSORBED, SEESAW_MLA_EXPANDED}) {
    LatentCache cache(layer, {.capacity = 64, .kv_format = SEESAW_FORMAT_FP8_576});
    const Parameter out = empty_like(x);
    const int32_t length = 9;
    layer.forward({.x = tensor_of(x),
                   .kv_cache = cache.pages(),
                   .block_table = cache.block_table(),
                   .seq_lens = make_tensor(&length, SEESAW_INT32, {1}),
                   .out = tensor_of(out),
                   .kv_scale = make_tensor(&kv_scale, SEESAW_FLOAT32, {1}),
                   .kv_format = SEESAW_FORMAT_FP8_576,
                   .form = form});
    EXPECT_LT(difference(out, 0, model.reference(sequence_of(x, 0))), 0.15);
  }
}

// A pool of pages in any order, sequences of any length, some with fewer tokens than rows. Slots
// that no token has are NaN, entries of the table that no token needs lead nowhere.
TEST(DeepSeekMLA, PagesAndLengthsOfTheCallers) {
  Model model({.bias = true}, SEESAW_FLOAT32);
  const std::vector<double> bias = model.parameters().at("o_proj.bias").values;
  const DeepSeekMLA layer = model.layer();
  constexpr int64_t kSequences = 4;
  constexpr int64_t kPageSize = 4;
  const std::vector<std::vector<int32_t>> lengths = {{5, 2, 0, 1}, {8, 3, -7, 4}, {9, 6, 2, 4}};
  const std::vector<int32_t> table = {7, 2, 9, 4, 0, -1, 1, -5, 99, 3, 1000, -1};
  const Parameter x = hidden_states(kSequences, 9, model.sizes().d_model, SEESAW_FLOAT32);
  for (const int32_t form : {SEESAW_MLA_ABSORBED, SEESAW_MLA_EXPANDED}) {
    const GuardedBuffer pool(10 * kPageSize * 40 * 4);
    for (const std::vector<int32_t>& after : lengths) {
      constexpr int64_t kRows = 5;
      const Parameter out = parameter_of({kSequences, kRows, model.sizes().d_model},
                                         Row(kSequences * kRows * 40, 7.0), SEESAW_FLOAT32);
      // The last rows of each sequence are its tokens up to its length; the others are other
      // tokens.
      Parameter rows = hidden_states(kSequences, kRows, model.sizes().d_model, SEESAW_FLOAT32);
      for (int64_t i = 0; i < kSequences; ++i) {
        for (int64_t n = 0; n < kRows; ++n) {
          const int64_t t = after[static_cast<size_t>(i)] - kRows + n;
          if (t >= 0) {
            std::copy_n(x.values.begin() + (i * 9 + t) * 40, 40,
                        rows.values.begin() + (i * kRows + n) * 40);
          }
        }
      }
      rows = parameter_of(rows.shape, rows.values, SEESAW_FLOAT32);
      layer.forward({.x = tensor_of(rows),
                     .kv_cache = make_tensor(pool.data(), SEESAW_FLOAT32, {10, kPageSize, 1, 40}),
                     .block_table = make_tensor(table.data(), SEESAW_INT32, {kSequences, 3}),
                     .seq_lens = make_tensor(after.data(), SEESAW_INT32, {kSequences}),
                     .out = tensor_of(out),
                     .form = form});
      const std::vector<double> got =
          numbers_of(out.bytes.data(), SEESAW_FLOAT32, std::ssize(out.values));
      for (int64_t i = 0; i < kSequences; ++i) {
        const Rows want = model.reference(sequence_of(x, i));
        for (int64_t n = 0; n < kRows; ++n) {
          const int64_t t = after[static_cast<size_t>(i)] - kRows + n;
          for (int64_t c = 0; c < 40; ++c) {
            const double wanted = t < 0 ? bias[static_cast<size_t>(c)]
                                        : want[static_cast<size_t>(t)][static_cast<size_t>(c)];
            EXPECT_NEAR(got[static_cast<size_t>((i * kRows + n) * 40 + c)], wanted, 1e-4);
          }
        }
      }
    }
    EXPECT_TRUE(pool.intact());
    // Page 5, 6 and 8 are nobody's; of page 3, nothing but the last sequence's tokens.
    for (const int64_t page : {5, 6, 8}) {
      const unsigned char* bytes = pool.data() + page * kPageSize * 40 * 4;
      EXPECT_TRUE(std::all_of(bytes, bytes + kPageSize * 40 * 4,
                              [](unsigned char b) { return b == GuardedBuffer::kPoisonByte; }));
    }
  }
}

TEST(DeepSeekMLA, OutMayBeX) {
  const Model model({}, SEESAW_FLOAT32);
  const DeepSeekMLA layer = model.layer();
  const Parameter x = hidden_states(2, 6, model.sizes().d_model, SEESAW_FLOAT32);
  for (const seesaw_mla_form form : {SEESAW_MLA_ABSORBED, SEESAW_MLA_EXPANDED}) {
    const Parameter both = x;
    LatentCache cache(layer, {.batch = 2, .capacity = 6});
    layer.forward(cache, tensor_of(both), tensor_of(both), form);
    EXPECT_LT(difference(both, 1, model.reference(sequence_of(x, 1))), kFloat32Roundings);
  }
}

TEST(DeepSeekMLA, SameBitsFromSeveralThreads) {
  const Model model(small(2), SEESAW_FLOAT32);
  const DeepSeekMLA layer = model.layer({.num_threads = 2});
  const Parameter x = hidden_states(2, 20, model.sizes().d_model, SEESAW_FLOAT32);
  const auto run = [&] {
    LatentCache cache(layer, {.batch = 2, .capacity = 20});
    Parameter out = empty_like(x);
    layer.forward(cache, tokens_of(x, 0, 16), tokens_of(out, 0, 16));
    layer.forward(cache, tokens_of(x, 16, 20), tokens_of(out, 16, 20));
    return out.bytes;
  };
  const std::vector<unsigned char> want = run();
  std::atomic<int> equal = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] { equal += run() == want ? 1 : 0; });
  }
  std::for_each(threads.begin(), threads.end(), [](std::thread& thread) { thread.join(); });
  EXPECT_EQ(equal, 3);
}

// Rejected drafts: the cache forgets them, and the next tokens take their places.
TEST(DeepSeekMLA, ATruncatedCacheGoesOn) {
  const Model model({}, SEESAW_FLOAT32);
  const DeepSeekMLA layer = model.layer();
  const Parameter x = hidden_states(1, 12, model.sizes().d_model, SEESAW_FLOAT32);
  const Parameter out = empty_like(x);
  LatentCache cache(layer, {.capacity = 12, .page_size = 5});
  layer.forward(cache, tokens_of(x, 0, 8), tokens_of(out, 0, 8));
  layer.forward(cache, tokens_of(x, 4, 8), tokens_of(out, 8, 12));  // drafts, all wrong
  cache.truncate(8);
  layer.forward(cache, tokens_of(x, 8, 12), tokens_of(out, 8, 12));
  EXPECT_LT(difference(out, 0, model.reference(sequence_of(x, 0))), kFloat32Roundings);
}

// Published FP8: blocks of 128 x 128 with a scale each are the numbers that they stand for.
TEST(DeepSeekMLA, WeightsOfFp8) {
  Model model({.d_model = 200, .d_latent = 150}, SEESAW_FLOAT32);
  Model published = model;
  std::vector<std::pair<std::string, Parameter>> scales;
  for (auto& [name, parameter] : published.parameters()) {
    if (parameter.shape.size() != 2) {
      continue;
    }
    const int64_t across = (parameter.shape[1] + 127) / 128;
    const int64_t down = (parameter.shape[0] + 127) / 128;
    std::vector<double> factors;
    for (int64_t i = 0; i < down * across; ++i) {
      factors.push_back(0.001 * static_cast<double>(1 + i));
    }
    const Parameter factor = parameter_of({down, across}, factors, SEESAW_FLOAT32);
    parameter.dtype = SEESAW_UINT8;
    parameter.bytes.resize(parameter.values.size());
    Parameter& numbers = model.parameters().at(name);
    for (size_t i = 0; i < parameter.values.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / parameter.shape[1] / 128;
      const int64_t column = static_cast<int64_t>(i) % parameter.shape[1] / 128;
      const auto f = static_cast<float>(factor.values[static_cast<size_t>(row * across + column)]);
      parameter.bytes[i] = to_e4m3(static_cast<float>(parameter.values[i]) / f);
      numbers.values[i] = static_cast<double>(from_e4m3(parameter.bytes[i]) * f);
    }
    numbers = parameter_of(numbers.shape, numbers.values, SEESAW_FLOAT32);
    scales.emplace_back(name + "_scale_inv", factor);
  }
  std::vector<seesaw_named_tensor> tensors = published.tensors();
  for (const auto& [name, factor] : scales) {
    tensors.push_back({name.c_str(), tensor_of(factor)});
  }
  const DeepSeekMLA layer(model.config(), tensors, {.dtype = SEESAW_FLOAT32});
  const Parameter x = hidden_states(1, 5, 200, SEESAW_FLOAT32);
  const Parameter out = empty_like(x);
  LatentCache cache(layer, {.capacity = 5});
  layer.forward(cache, tensor_of(x), tensor_of(out));
  EXPECT_LT(difference(out, 0, model.reference(sequence_of(x, 0))), kFloat32Roundings);
  EXPECT_EQ(DeepSeekMLA(model.config(), tensors).info().dtype, SEESAW_BFLOAT16);
}

// tests/layers/make_fixture.py wrote the checkpoint, and what the Python layer makes of it.
TEST(DeepSeekMLA, GivesWhatThePythonLayerGives) {
  const std::string folder = SEESAW_LAYER_FIXTURE;
  const DeepSeekMLA layer =
      DeepSeekMLA::from_checkpoint(folder + "/checkpoint", 3, {.dtype = SEESAW_FLOAT32});
  const files::SafetensorsFile expected(folder + "/expected.safetensors");
  const auto tensor = [&](const std::string& name) {
    const files::TensorEntry& entry = *expected.header().find(name);
    return parameter_of(entry.shape,
                        numbers_of(expected.tensor_bytes() + entry.begin, SEESAW_FLOAT32,
                                   static_cast<int64_t>(entry.end - entry.begin) / 4),
                        SEESAW_FLOAT32);
  };
  const Parameter x = tensor("x");
  const std::pair<seesaw_format, const char*> formats[] = {{SEESAW_FORMAT_FLOAT32, "float32"},
                                                           {SEESAW_FORMAT_FP8_656, "fp8_656"}};
  for (const auto& [format, name] : formats) {
    const Parameter want = tensor(name);
    const Parameter out = empty_like(x);
    LatentCache cache(layer, {.batch = 2, .capacity = 12, .page_size = 16, .kv_format = format});
    int64_t done = 0;
    for (const int64_t s : {7, 1, 4}) {
      layer.forward(cache, tokens_of(x, done, done + s), tokens_of(out, done, done + s));
      done += s;
    }
    // Python attends a prompt's own latents as they were before a format rounds them.
    const bool plain = format == SEESAW_FORMAT_FLOAT32;
    for (const int64_t b : {0, 1}) {
      EXPECT_LT(difference(out, b, sequence_of(want, b), plain ? 0 : 7),
                plain ? kFloat32Roundings : 2e-3);
    }
  }
}

}  // namespace
}  // namespace seesaw::testing
