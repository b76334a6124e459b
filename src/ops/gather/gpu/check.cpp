// SEESAW_CHECK of gpu.gather: the host's own check on copies of lengths, starts and page ids.
// Debugging only: it allocates, copies to the host and waits.
#include <vector>

#include "gpu/check_data.hpp"
#include "gpu/device.hpp"
#include "ops/gather/gpu/gather.hpp"

namespace seesaw::gather::gpu {
namespace {

// A matrix of int32 on the host, its rows `columns` apart.
class HostCopy {
 public:
  Status copy(const Tensor& from, int64_t rows, int64_t columns, cudaStream_t stream) {
    numbers_.resize(static_cast<size_t>(rows * columns));
    for (int64_t i = 0; i < rows && columns > 0; ++i) {
      SEESAW_RETURN_IF_ERROR(seesaw::gpu::status_of(
          cudaMemcpyAsync(&numbers_[static_cast<size_t>(i * columns)],
                          static_cast<const int32_t*>(from.data) + i * from.stride[0],
                          static_cast<size_t>(columns) * sizeof(int32_t), cudaMemcpyDeviceToHost,
                          stream),
          "check_data", "copying lengths and page ids"));
    }
    tensor_ = from;
    tensor_.data = numbers_.data();
    tensor_.stride[0] = columns;
    return {};
  }
  const Tensor& tensor() const { return tensor_; }

 private:
  std::vector<int32_t> numbers_;
  Tensor tensor_;
};

}  // namespace

Status check_data(const GatherPlan& plan, const Args& args, cudaStream_t stream) {
  if (!by_pages(args)) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(seesaw::gpu::refuse_while_capturing(stream));
  HostCopy table;
  HostCopy rows;
  HostCopy starts;
  const Tensor& block_table = args.block_table;
  SEESAW_RETURN_IF_ERROR(rows.copy(args.cu_seq_lens, args.cu_seq_lens.shape[0], 1, stream));
  if (block_table.data != nullptr) {
    SEESAW_RETURN_IF_ERROR(
        table.copy(block_table, block_table.shape[0], block_table.shape[1], stream));
  }
  if (args.starts.data != nullptr) {
    SEESAW_RETURN_IF_ERROR(starts.copy(args.starts, args.starts.shape[0], 1, stream));
  }
  SEESAW_RETURN_IF_ERROR(seesaw::gpu::status_of(cudaStreamSynchronize(stream), "check_data",
                                                "waiting for lengths and page ids"));
  Args on_host = args;
  on_host.cu_seq_lens = rows.tensor();
  on_host.block_table.data = nullptr;
  on_host.starts.data = nullptr;
  if (block_table.data != nullptr) {
    on_host.block_table = table.tensor();
  }
  if (args.starts.data != nullptr) {
    on_host.starts = starts.tensor();
  }
  return check_pages(plan.problem, on_host);
}

}  // namespace seesaw::gather::gpu
