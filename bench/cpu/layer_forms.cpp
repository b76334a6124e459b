// The MLA layer absorbed and expanded: from how many new tokens on, behind so many in the cache,
// does it pay to expand (src/layers/form.hpp, notebook 0088)? 16 heads of DeepSeek's dimensions,
// d_model 256, float32.
//
//   seesaw_layer_forms --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "seesaw/layers.hpp"

namespace seesaw::bench {
namespace {

constexpr int64_t kModel = 256, kHeads = 16, kLatent = 512, kNope = 128, kRope = 64, kValue = 128;
constexpr int64_t kMostNew = 1024;  // tokens of one call
constexpr const char* kConfig =
    R"({"hidden_size": 256, "num_attention_heads": 16, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "q_lora_rank": null, "rope_theta": 10000,
        "rms_norm_eps": 1e-06})";

std::vector<float> random_numbers(int64_t count) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& number : numbers) number = normal(engine);
  return numbers;
}

const layers::DeepSeekMLA& layer() {
  static const layers::DeepSeekMLA made = [] {
    const std::vector<float> numbers = random_numbers(kHeads * (kNope + kValue) * kLatent);
    const auto matrix = [&](const char* name, int64_t rows, int64_t columns) {
      return seesaw_named_tensor{name,
                                 make_tensor(numbers.data(), SEESAW_FLOAT32, {rows, columns})};
    };
    const seesaw_named_tensor tensors[] = {
        matrix("q_proj.weight", kHeads * (kNope + kRope), kModel),
        matrix("kv_a_proj_with_mqa.weight", kLatent + kRope, kModel),
        {"kv_a_layernorm.weight", make_tensor(numbers.data(), SEESAW_FLOAT32, {kLatent})},
        matrix("kv_b_proj.weight", kHeads * (kNope + kValue), kLatent),
        matrix("o_proj.weight", kModel, kHeads * kValue)};
    return layers::DeepSeekMLA(kConfig, tensors);
  }();
  return made;
}

void forward(benchmark::State& state, seesaw_mla_form form) {
  const int64_t past = state.range(0);
  const std::vector<float> x = random_numbers(kMostNew * kModel);
  std::vector<float> out(x.size());
  const auto tokens = [](const std::vector<float>& of, int64_t count) {
    return make_tensor(of.data(), SEESAW_FLOAT32, {1, count, kModel});
  };
  layers::LatentCache cache(layer(), {.capacity = past + kMostNew});
  while (cache.length() < past) {
    const int64_t count = std::min(past - cache.length(), kMostNew);
    layer().forward(cache, tokens(x, count), tokens(out, count));
  }
  for ([[maybe_unused]] auto _ : state) {
    layer().forward(cache, tokens(x, state.range(1)), tokens(out, state.range(1)), form);
    cache.truncate(past);
  }
}

void shapes(benchmark::internal::Benchmark* of) {
  of->ArgNames({"past", "new"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int64_t past : {512, 2048}) {
    for (const int64_t fresh : {1, 64, 128, 192, 256, 384}) of->Args({past, fresh});
  }
}
BENCHMARK_CAPTURE(forward, absorbed, SEESAW_MLA_ABSORBED)->Apply(shapes);
BENCHMARK_CAPTURE(forward, expanded, SEESAW_MLA_EXPANDED)->Apply(shapes);

}  // namespace
}  // namespace seesaw::bench

BENCHMARK_MAIN();
