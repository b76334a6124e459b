// A layer of the baselines, from outside: multi-head attention of one token is its value projected,
// as it can only attend to itself.
#include <seesaw/baselines.hpp>

#include <cstdio>
#include <vector>

int main() {
  const seesaw::BaselineDescriptor layer{
      .model = SEESAW_BASELINE_MHA, .d_model = 4, .num_heads = 2};
  if (!seesaw::supports(layer).front().supported) {
    std::printf("%s\n", seesaw::supports(layer).front().reason.c_str());
    return 0;
  }
  const std::vector<float> x = {1.0F, 2.0F, 3.0F, 4.0F};
  std::vector<float> twice(16, 0.0F), out(4);
  for (size_t i = 0; i < 4; ++i) {
    twice[i * 5] = 2.0F;  // on the diagonal: every projection doubles
  }
  const seesaw_tensor weight = seesaw::make_tensor(twice.data(), SEESAW_FLOAT32, {4, 4});
  const seesaw::Baseline plan(layer);
  const seesaw::AlignedBuffer workspace(plan.workspace_bytes());
  plan.run({.x = seesaw::make_tensor(x.data(), SEESAW_FLOAT32, {1, 1, 4}),
            .weights = {weight, weight, weight, weight},
            .out = seesaw::make_tensor(out.data(), SEESAW_FLOAT32, {1, 1, 4}),
            .workspace = workspace.data(),
            .workspace_bytes = workspace.size()});
  std::printf("%s: %g %g %g %g\n", plan.backend(), out[0], out[1], out[2], out[3]);
  return out == std::vector<float>{4.0F, 8.0F, 12.0F, 16.0F} ? 0 : 1;
}
