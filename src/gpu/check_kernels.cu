#include <algorithm>

#include "base/math.hpp"
#include "gpu/check_kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::gpu {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    lengths_kernel(const __grid_constant__ LengthsParams p) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < p.batch;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t length = p.seq_lens[i * p.stride];
    if (length < 0 || length > p.max_tokens) {
      atomicMin(p.first_fault, static_cast<unsigned long long>(i));
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    block_table_kernel(const __grid_constant__ BlockTableParams p) {
  for (int64_t i = blockIdx.x; i < p.batch; i += gridDim.x) {
    const auto length = static_cast<uint32_t>(p.seq_lens[i * p.seq_len_stride]);
    const int64_t pages = ceil_div(length, static_cast<uint32_t>(p.page_size));  // both below 2^31
    for (int64_t column = threadIdx.x; column < pages; column += kThreads) {
      const int64_t id = p.table[i * p.table_stride + column];
      if (id < 0 || id >= p.num_pages) {
        atomicMin(p.first_fault, static_cast<unsigned long long>(i * p.columns + column));
      }
    }
  }
}

// A block a list.
__global__ void __launch_bounds__(kThreads) lists_kernel(const __grid_constant__ ListsParams p) {
  for (int64_t item = blockIdx.x; item < p.items; item += gridDim.x) {
    const int64_t sequence = item / p.items_per_sequence;
    const int64_t given = p.lengths == nullptr ? p.most : p.lengths[sequence * p.lengths_stride];
    const int64_t first_of_item = item * (p.most + 1);
    if (given < 0 || given > p.most) {
      atomicMin(p.first_fault, static_cast<unsigned long long>(first_of_item));
      continue;
    }
    const int32_t* list =
        p.slots + sequence * p.stride_sequence + item % p.items_per_sequence * p.stride_item;
    for (int64_t entry = threadIdx.x; entry < given; entry += kThreads) {
      const int64_t slot = list[entry];
      if (slot < -1 || slot >= p.num_slots) {
        atomicMin(p.first_fault, static_cast<unsigned long long>(first_of_item + 1 + entry));
      }
    }
  }
}

__device__ void compare_words(const ScheduleParams& p, const void* begin, int64_t words) {
  const int64_t offset = static_cast<const uint32_t*>(begin) - p.wanted;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < words;
       i += int64_t{gridDim.x} * kThreads) {
    if (p.given[offset + i] != p.wanted[offset + i]) {
      atomicMin(p.first_fault, static_cast<unsigned long long>(offset + i));
    }
  }
}

// Compares what a schedule of this batch defines; the rest of the buffer may hold anything.
__global__ void __launch_bounds__(kThreads)
    schedule_words_kernel(const __grid_constant__ ScheduleParams p) {
  const split::ScheduleView view = split::schedule_view(const_cast<uint32_t*>(p.wanted), p.config);
  compare_words(p, view.header, sizeof(split::ScheduleHeader) / 4);
  compare_words(p, view.worker_pieces,
                (int64_t{p.config.num_workers} + 1) *
                    static_cast<int64_t>(sizeof(split::WorkerPieces) / sizeof(int32_t)));
  compare_words(p, view.item_piece_begin, int64_t{p.batch} * p.config.row_groups + 1);
  compare_words(p, view.pieces,
                int64_t{view.header->num_pieces} * (sizeof(split::Piece) / sizeof(int32_t)));
}

template <typename Params>
cudaError_t launch(void (*kernel)(Params), const Params& params, int64_t threads,
                   cudaStream_t stream) {
  const cudaError_t error = cudaMemsetAsync(params.first_fault, 0xFF, sizeof(kNoFault), stream);
  if (error != cudaSuccess) {
    return error;
  }
  const int64_t blocks = std::clamp<int64_t>(ceil_div<int64_t>(threads, kThreads), 1, 1024);
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(blocks)),
                             .block = dim3(kThreads),
                             .shared_bytes = 0,
                             .stream = stream};
  return launch_kernel(kernel, shape, params);
}

}  // namespace

cudaError_t launch_check(const LengthsParams& params, cudaStream_t stream) {
  return launch(lengths_kernel, params, params.batch, stream);
}

cudaError_t launch_check(const BlockTableParams& params, cudaStream_t stream) {
  return launch(block_table_kernel, params, params.batch * kThreads, stream);
}

cudaError_t launch_check(const ListsParams& params, cudaStream_t stream) {
  return launch(lists_kernel, params, params.items * kThreads, stream);
}

cudaError_t launch_check(const ScheduleParams& params, cudaStream_t stream) {
  const auto words = static_cast<int64_t>(split::schedule_bytes(params.config) / sizeof(uint32_t));
  return launch(schedule_words_kernel, params, words, stream);
}

}  // namespace seesaw::gpu
