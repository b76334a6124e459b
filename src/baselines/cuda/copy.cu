// Copies between any two strided views of one shape, converting. Two kernels:
//   rows   the destination's contiguous dimension is the source's too: a thread moves four elements
//          side by side
//   tiles  it is another, or there is none: a tile of 32 x 32 goes through shared memory, read
//   along
//          one dimension and written along the other
// Both order the dimensions so that the destination's contiguous one is the last, and the tiles'
// other one the last but one. Grid: x columns, y rows (dimension 2), z matrices (dimensions 0, 1).
#include <utility>

#include "base/math.hpp"
#include "baselines/cuda/elements.cuh"
#include "baselines/cuda/kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::baselines {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 32;
constexpr int kTileRows = 8;  // of threads: each moves 32 / 8 elements

struct CopyParams {
  Elements from;
  Elements to;
  int64_t inner;  // dimension 1
  int64_t matrices;
  int64_t rows;
  int64_t columns;
};

__global__ void __launch_bounds__(kThreads) copy_rows_kernel(const __grid_constant__ CopyParams p) {
  const int64_t column = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 4;
  if (column >= p.columns) {
    return;
  }
  for (int64_t z = blockIdx.z; z < p.matrices; z += gridDim.z) {
    const int64_t from = p.from.offset(z / p.inner, z % p.inner, 0);
    const int64_t to = p.to.offset(z / p.inner, z % p.inner, 0);
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < p.rows;
         row += int64_t{gridDim.y} * blockDim.y) {
      const int64_t left = p.columns - column;
      p.to.store4(to + row * p.to.stride[2] + column, left,
                  p.from.load4(from + row * p.from.stride[2] + column, left));
    }
  }
}

// Sync: all threads of the block call it.
__device__ void copy_tile(const CopyParams& p, int64_t from, int64_t to, int64_t row_begin,
                          int64_t column_begin) {
  __shared__ float tile[kTile][kTile + 1];  // padded: neither access has bank conflicts
  for (unsigned step = threadIdx.y; step < kTile; step += kTileRows) {
    const int64_t row = row_begin + threadIdx.x;
    const int64_t column = column_begin + step;
    if (row < p.rows && column < p.columns) {
      tile[step][threadIdx.x] =
          p.from.load(from + row * p.from.stride[2] + column * p.from.stride[3]);
    }
  }
  __syncthreads();
  for (unsigned step = threadIdx.y; step < kTile; step += kTileRows) {
    const int64_t row = row_begin + step;
    const int64_t column = column_begin + threadIdx.x;
    if (row < p.rows && column < p.columns) {
      p.to.store(to + row * p.to.stride[2] + column * p.to.stride[3], tile[threadIdx.x][step]);
    }
  }
  __syncthreads();
}

__global__ void __launch_bounds__(kTile* kTileRows)
    copy_tiles_kernel(const __grid_constant__ CopyParams p) {
  for (int64_t z = blockIdx.z; z < p.matrices; z += gridDim.z) {
    const int64_t from = p.from.offset(z / p.inner, z % p.inner, 0);
    const int64_t to = p.to.offset(z / p.inner, z % p.inner, 0);
    for (int64_t y = blockIdx.y; y * kTile < p.rows; y += gridDim.y) {
      copy_tile(p, from, to, y * kTile, int64_t{blockIdx.x} * kTile);
    }
  }
}

// The dimension whose elements lie side by side; the last if there is none.
size_t contiguous_dim(const View& view) {
  for (size_t dim = 4; dim-- > 0;) {
    if (view.stride[dim] == 1 && view.shape[dim] > 1) {
      return dim;
    }
  }
  return 3;
}

// Order of dimensions with `last` last and, where it is another, `before` before it.
std::array<size_t, 4> order_of(size_t before, size_t last) {
  std::array<size_t, 4> order{};
  size_t next = 0;
  for (size_t dim = 0; dim < 4; ++dim) {
    if (dim != last && dim != before) {
      order[next++] = dim;
    }
  }
  if (before != last) {
    order[next++] = before;
  }
  order[next] = last;
  return order;
}

CopyParams params_of(const View& from, const View& to) {
  return {
      .from = elements_of(from),
      .to = elements_of(to),
      .inner = to.shape[1],
      .matrices = to.shape[0] * to.shape[1],
      .rows = to.shape[2],
      .columns = to.shape[3],
  };
}

cudaError_t launch_rows(const CopyParams& params, cudaStream_t stream) {
  unsigned width = 32;
  while (width < kThreads && width * 4 < params.columns) {
    width *= 2;
  }
  const dim3 block(width, kThreads / width);
  const dim3 grid(grid_dim_x(ceil_div(params.columns, int64_t{block.x} * 4)),
                  grid_dim(ceil_div(params.rows, int64_t{block.y})), grid_dim(params.matrices));
  return gpu::launch_kernel(copy_rows_kernel, {.grid = grid, .block = block, .stream = stream},
                            params);
}

cudaError_t launch_tiles(const CopyParams& params, cudaStream_t stream) {
  const dim3 grid(grid_dim_x(ceil_div(params.columns, int64_t{kTile})),
                  grid_dim(ceil_div(params.rows, int64_t{kTile})), grid_dim(params.matrices));
  return gpu::launch_kernel(
      copy_tiles_kernel, {.grid = grid, .block = dim3(kTile, kTileRows), .stream = stream}, params);
}

}  // namespace

cudaError_t launch_copy(const View& from, const View& to, cudaStream_t stream) {
  const size_t last = contiguous_dim(to);
  const size_t of_source = contiguous_dim(from);
  const std::array<size_t, 4> order = order_of(of_source, last);
  const CopyParams params = params_of(from.permute(order), to.permute(order));
  const bool rows = params.columns == 1 || (params.from.stride[3] == 1 && params.to.stride[3] == 1);
  return rows ? launch_rows(params, stream) : launch_tiles(params, stream);
}

}  // namespace seesaw::baselines
