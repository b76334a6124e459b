// A whole program on the C++ interface. README.md shows what stands between the two marks.
#include <seesaw/ops/dense_decode.h>

#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  // Two sequences of 100 and 3 tokens, 16 heads, a cache of 4 pages of 64 tokens.
  const seesaw_dense_decode_problem problem{.q_dtype = SEESAW_FLOAT32,
                                            .batch = 2,
                                            .h_q = 16,
                                            .page_size = 64,
                                            .max_pages_per_sequence = 2,
                                            .causal = 1};
  std::vector<float> q(2 * 16 * 576, 0.01F), kv_cache(4 * 64 * 576, 0.5F);
  std::vector<float> out(2 * 16 * 512), lse(2 * 16);
  const std::vector<int32_t> block_table = {2, 0, 3, -1}, seq_lens = {100, 3};
  const seesaw_dense_decode_args args{
      .q = seesaw::make_tensor(q.data(), SEESAW_FLOAT32, {2, 1, 16, 576}),
      .kv_cache = seesaw::make_tensor(kv_cache.data(), SEESAW_FLOAT32, {4, 64, 1, 576}),
      .block_table = seesaw::make_tensor(block_table.data(), SEESAW_INT32, {2, 2}),
      .seq_lens = seesaw::make_tensor(seq_lens.data(), SEESAW_INT32, {2}),
      .out = seesaw::make_tensor(out.data(), SEESAW_FLOAT32, {2, 1, 16, 512}),
      .lse = seesaw::make_tensor(lse.data(), SEESAW_FLOAT32, {2, 16, 1}),
      .scale = 1.0F / std::sqrt(192.0F)};

  // [README
  // Once a model: the shapes choose a kernel, or an error says why none can run them.
  const seesaw::DenseDecode decode(problem);
  const seesaw::AlignedBuffer schedule(decode.schedule_bytes());
  const seesaw::AlignedBuffer workspace(decode.workspace_bytes());
  const seesaw_call call{.schedule = schedule.data(),
                         .schedule_bytes = schedule.size(),
                         .workspace = workspace.data(),
                         .workspace_bytes = workspace.size()};
  // Once a decoding step: which worker does which tiles. All layers share it.
  decode.prepare(args, call);
  // Every layer: out = softmax(scale q K^T) V, without allocating anything.
  decode.run(args, call);
  // README]

  std::printf("%s: out = %g, lse = %g\n", decode.kernel(), out[0], lse[0]);
  return std::abs(out[0] - 0.5F) < 1e-5F ? 0 : 1;
}
