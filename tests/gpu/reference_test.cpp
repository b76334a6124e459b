// The tests' own truth against the CPU's reference kernel, through the public API: if this fails,
// no other result here means anything.
#include <gtest/gtest.h>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

std::vector<uint16_t> host_copy(const seesaw_tensor& tensor, int64_t elements,
                                const Stream& stream) {
  return copy_to_host<uint16_t>(tensor.data, static_cast<size_t>(elements), stream.get());
}

// Runs the CPU reference on host copies of the inputs and puts its results where a GPU kernel's
// would be, so that compare() sets them against the tests' truth.
void run_on_cpu(DenseRun& run, const DenseCase& c) {
  seesaw_dense_decode_args call = run.tensors();
  const Stream& stream = run.stream();
  std::vector<uint16_t> q = host_copy(call.q, call.q.shape[0] * call.q.stride[0], stream);
  std::vector<uint16_t> kv =
      host_copy(call.kv_cache, call.kv_cache.shape[0] * call.kv_cache.stride[0], stream);
  std::vector<int32_t> table = run.block_table();
  std::vector<int32_t> lengths = make_lengths(c);
  std::vector<uint16_t> out(static_cast<size_t>(call.out.shape[0] * call.out.stride[0]));
  std::vector<float> lse(static_cast<size_t>(call.lse.shape[0] * call.lse.stride[0]));
  const auto on_host = [](seesaw_tensor& tensor, void* data) {
    tensor.data = data;
    tensor.device = kCpu;
  };
  on_host(call.q, q.data());
  on_host(call.kv_cache, kv.data());
  on_host(call.block_table, table.data());
  on_host(call.seq_lens, lengths.data());
  const seesaw_tensor device_out = call.out;
  const seesaw_tensor device_lse = call.lse;
  on_host(call.out, out.data());
  on_host(call.lse, lse.data());
  seesaw_dense_decode_problem problem = run.problem();
  problem.kv_page_stride = 0;  // of the host's copy: packed
  problem.kv_token_stride = 0;
  const DenseDecode decode(problem, {.kernel = "reference.dense_decode"});
  const AlignedBuffer schedule(decode.schedule_bytes());
  const AlignedBuffer workspace(decode.workspace_bytes());
  const seesaw_call host{.schedule = schedule.data(),
                         .schedule_bytes = schedule.size(),
                         .workspace = workspace.data(),
                         .workspace_bytes = workspace.size()};
  decode.prepare(call, host);
  decode.run(call, host);
  copy_to_device(out, device_out.data, stream.get());
  copy_to_device(lse, device_lse.data, stream.get());
}

TEST(Reference, AgreesWithTheCpuReference) {
  for (const Element element : {Element::kBFloat16, Element::kFloat16}) {
    for (const uint32_t flags : {0U, uint32_t{kCausal | kLseBase2}}) {
      DenseCase c;
      c.b = 4;
      c.s_q = 3;
      c.s_k = 150;
      c.h_q = 6;
      c.h_kv = 2;
      c.lengths = Lengths::kVaried;
      c.flags = flags;
      c.element = element;
      DenseRun run;
      run.prepare(c);
      run_on_cpu(run, c);
      const Difference difference = run.compare();
      EXPECT_EQ(verdict(c, difference), "");
      // Both are double: what is left is the rounding of out to 16 bits and of lse to float.
      EXPECT_LE(difference.max_out_error, 1.0 / 256.0);
      EXPECT_LE(difference.max_lse_error, 1e-5);
      EXPECT_GT(difference.sum_squares, 0.0);
    }
  }
}

}  // namespace
}  // namespace seesaw::gpu_test
