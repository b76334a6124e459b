// A small model's MLA layer from outside: made of a configuration and tensors by their published
// names, it computes a prompt, then token by token what it would have computed at once.
#include <seesaw/layers.hpp>

#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

int main() {
  const std::string config = R"({"hidden_size": 16, "num_attention_heads": 2, "q_lora_rank": null,
      "kv_lora_rank": 512, "qk_nope_head_dim": 8, "qk_rope_head_dim": 64, "v_head_dim": 8})";
  // What an engine's loader has read of a checkpoint; a folder is read by from_checkpoint().
  const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {
      {"q_proj.weight", {2 * (8 + 64), 16}}, {"kv_a_proj_with_mqa.weight", {512 + 64, 16}},
      {"kv_a_layernorm.weight", {512}},      {"kv_b_proj.weight", {2 * (8 + 8), 512}},
      {"o_proj.weight", {16, 2 * 8}},
  };
  std::vector<std::vector<float>> numbers;
  std::vector<seesaw_named_tensor> tensors;
  float angle = 0.0F;
  for (const auto& [name, shape] : shapes) {
    const bool matrix = shape.size() == 2;
    std::vector<float>& values = numbers.emplace_back(matrix ? shape[0] * shape[1] : shape[0]);
    for (float& value : values) {
      value = matrix ? std::sin(angle += 1.0F) / std::sqrt(static_cast<float>(shape[1])) : 1.0F;
    }
    seesaw_tensor tensor = seesaw::make_tensor(values.data(), SEESAW_FLOAT32, {shape[0]});
    if (matrix) {
      tensor = seesaw::make_tensor(values.data(), SEESAW_FLOAT32, {shape[0], shape[1]});
    }
    tensors.push_back({name.c_str(), tensor});
  }
  const seesaw::layers::DeepSeekMLA layer(config, tensors);

  constexpr int64_t kTokens = 6;
  std::vector<float> x(kTokens * 16), at_once(x.size()), in_steps(x.size());
  for (float& value : x) {
    value = std::sin(angle += 1.0F);
  }
  const auto tokens = [](std::vector<float>& all, int64_t begin, int64_t end) {
    return seesaw::make_tensor(&all[static_cast<size_t>(begin * 16)], SEESAW_FLOAT32,
                               {1, end - begin, 16});
  };
  const seesaw::layers::CacheShape shape{.capacity = 64, .kv_format = SEESAW_FORMAT_FP8_656};
  seesaw::layers::LatentCache whole(layer, shape), stepped(layer, shape);
  layer.forward(whole, tokens(x, 0, kTokens), tokens(at_once, 0, kTokens));
  layer.forward(stepped, tokens(x, 0, 4), tokens(in_steps, 0, 4));  // the prompt
  for (int64_t t = 4; t < kTokens; ++t) {
    layer.forward(stepped, tokens(x, t, t + 1), tokens(in_steps, t, t + 1));
  }
  float difference = 0.0F;
  for (size_t i = 0; i < x.size(); ++i) {
    difference = std::fmax(difference, std::fabs(at_once[i] - in_steps[i]));
  }
  std::printf("%lld tokens of %lld numbers, cached as fp8_656: in steps as at once but for %g\n",
              static_cast<long long>(stepped.length()),
              static_cast<long long>(layer.info().d_model), static_cast<double>(difference));
  return difference < 1e-3F ? 0 : 1;
}
