// A warp a row, rows dealt out over a grid that stays. The numbers are those of ../README.md.
#include <algorithm>

#include "gpu/chunk.cuh"
#include "gpu/launch.cuh"
#include "ops/gather/gpu/find.cuh"
#include "ops/gather/gpu/gather.hpp"

namespace seesaw::gather::gpu {
namespace {

using seesaw::gpu::Chunk;
using seesaw::gpu::decode;
using seesaw::gpu::kChunk;
using seesaw::gpu::load_bytes;
using seesaw::gpu::load_chunk;
using seesaw::gpu::store_chunk;

constexpr int kWarps = 8;  // of a block
constexpr int kThreads = 32 * kWarps;
constexpr int kBlocksPerSm = 32;  // several waves, so that the last is short

// Calls write(row) for the rows of the calling warp.
template <typename Write>
__device__ void for_each_row(const GatherParams& p, Write write) {
  const int64_t rows = rows_to_write(p);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int64_t row = int64_t{blockIdx.x} * kWarps + warp; row < rows;
       row += int64_t{gridDim.x} * kWarps) {
    write(row);
  }
}

// ---- bytes

// [2] A record's row and tail as one run of units: several loads under way before the first store.
template <typename Unit>
__device__ void copy_record(const Cache& cache, const Record& record, std::byte* to, int lane) {
  constexpr int kAtOnce = 4;
  constexpr int kBytes = sizeof(Unit);
  const int in_row = cache.row_bytes / kBytes;
  const int count = in_row + cache.tail_bytes / kBytes;
  const Unit* const row = reinterpret_cast<const Unit*>(record.row);
  const Unit* const tail = reinterpret_cast<const Unit*>(record.tail);
  Unit* const out = reinterpret_cast<Unit*>(to);
  for (int begin = lane; begin < count; begin += 32 * kAtOnce) {
    Unit units[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int unit = begin + 32 * i;
      if (unit < count) {
        units[i] = unit < in_row ? row[unit] : tail[unit - in_row];
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (begin + 32 * i < count) {
        out[begin + 32 * i] = units[i];
      }
    }
  }
}

template <typename Unit>
__device__ void clear_row(int count, std::byte* to, int lane) {  // [3]
  for (int unit = lane; unit < count; unit += 32) {
    reinterpret_cast<Unit*>(to)[unit] = Unit{};
  }
}

template <typename Unit>
__global__ void __launch_bounds__(kThreads) copy_kernel(const __grid_constant__ GatherParams p) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for_each_row(p, [&](int64_t row) {
    const Record record = find(p, row, lane);  // [1]
    std::byte* const to = p.out + row * p.out_stride;
    if (record.row == nullptr) {
      clear_row<Unit>((p.cache.row_bytes + p.cache.tail_bytes) / static_cast<int>(sizeof(Unit)), to,
                      lane);
    } else {
      copy_record<Unit>(p.cache, record, to, lane);
    }
  });
}

// ---- numbers

// Up to eight neighbouring columns of one segment: a lane's share at a time.
struct Columns {
  const Segment* segment;
  int first;  // of the segment
  int count;
  int column;  // of the record
};

__device__ int chunks_of(const Segment& segment) { return (segment.count + kChunk - 1) / kChunk; }

__device__ Columns columns_of(const GatherParams& p, int chunk) {
  const int latent = chunks_of(p.latent);
  const bool rotary = chunk >= latent;
  const Segment& segment = rotary ? p.rotary : p.latent;
  const int first = (rotary ? chunk - latent : chunk) * kChunk;
  return {&segment, first, min(kChunk, segment.count - first),
          rotary ? p.latent.count + first : first};
}

__device__ const std::byte* bytes_of(const Segment& segment, const Record& record) {
  return (segment.place == seesaw::Place::kRow ? record.row : record.tail) + segment.offset;
}

// The scale of a chunk's columns: groups are of 8 columns or more, and begin on a multiple of 8.
__device__ float scale_of(const GatherParams& p, const Record& record, int column) {
  if (column >= p.scaled_columns) {
    return 1.0F;
  }
  const int bits = bits_of(p.scales.type);
  const std::byte* const at =
      bytes_of(p.scales, record) + p.scale_group.divide(column) * (bits / 8);
  const Chunk chunk = {{bits == 32 && p.aligned ? *reinterpret_cast<const uint32_t*>(at)
                                                : load_bytes(at, bits / 8)}};
  float values[kChunk];
  decode(chunk, p.scales.type, values);
  return values[0];
}

template <typename T>
__device__ void convert_record(const GatherParams& p, const Record& record, float kv_scale, T* out,
                               int lane) {  // [2]
  constexpr int kAtOnce = 2;
  const int chunks = chunks_of(p.latent) + chunks_of(p.rotary);
  for (int begin = lane; begin < chunks; begin += 32 * kAtOnce) {
    Columns columns[kAtOnce];
    Chunk chunk[kAtOnce];
    float scale[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (begin + 32 * i < chunks) {
        columns[i] = columns_of(p, begin + 32 * i);
        const int bits = bits_of(columns[i].segment->type);
        chunk[i] = load_chunk(bytes_of(*columns[i].segment, record) + columns[i].first * bits / 8,
                              bits, columns[i].count, p.aligned);
        scale[i] = scale_of(p, record, columns[i].column);
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (begin + 32 * i < chunks) {
        float values[kChunk];
        decode(chunk[i], columns[i].segment->type, values);
#pragma unroll
        for (int c = 0; c < kChunk; ++c) {
          values[c] = values[c] * scale[i] * kv_scale;
        }
        store_chunk(values, out + columns[i].column, columns[i].count, p.aligned);
      }
    }
  }
}

template <typename T>
__device__ void clear_columns(int count, T* out, int lane) {  // [3]
  for (int column = lane; column < count; column += 32) {
    out[column] = static_cast<T>(0.0F);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) convert_kernel(const __grid_constant__ GatherParams p) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float kv_scale = p.kv_scale == nullptr ? 1.0F : *p.kv_scale;
  for_each_row(p, [&](int64_t row) {
    const Record record = find(p, row, lane);  // [1]
    T* const out = reinterpret_cast<T*>(p.out + row * p.out_stride);
    if (record.row == nullptr) {
      clear_columns(p.latent.count + p.rotary.count, out, lane);
    } else {
      convert_record(p, record, kv_scale, out, lane);
    }
  });
}

cudaError_t launch(void (*kernel)(GatherParams), const GatherParams& params, int32_t num_sms,
                   cudaStream_t stream) {
  const int64_t blocks =
      std::min<int64_t>((params.num_rows + kWarps - 1) / kWarps, int64_t{num_sms} * kBlocksPerSm);
  return seesaw::gpu::launch_kernel(kernel,
                                    {.grid = dim3(static_cast<unsigned>(blocks)),
                                     .block = dim3(kThreads),
                                     .shared_bytes = 0,
                                     .stream = stream},
                                    params);
}

}  // namespace

cudaError_t launch_copy(const GatherParams& params, uint64_t unit, int32_t num_sms,
                        cudaStream_t stream) {
  switch (unit) {
    case 16:
      return launch(copy_kernel<uint4>, params, num_sms, stream);
    case 8:
      return launch(copy_kernel<uint2>, params, num_sms, stream);
    case 4:
      return launch(copy_kernel<uint32_t>, params, num_sms, stream);
    case 2:
      return launch(copy_kernel<uint16_t>, params, num_sms, stream);
    default:
      return launch(copy_kernel<uint8_t>, params, num_sms, stream);
  }
}

cudaError_t launch_convert(const GatherParams& params, DType out, int32_t num_sms,
                           cudaStream_t stream) {
  switch (out) {
    case DType::kBFloat16:
      return launch(convert_kernel<__nv_bfloat16>, params, num_sms, stream);
    case DType::kFloat16:
      return launch(convert_kernel<__half>, params, num_sms, stream);
    default:
      return launch(convert_kernel<float>, params, num_sms, stream);
  }
}

}  // namespace seesaw::gather::gpu
