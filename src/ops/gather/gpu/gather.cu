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
using seesaw::gpu::load_narrow_chunk;
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
__global__ void __launch_bounds__(kThreads, 3) copy_kernel(const __grid_constant__ GatherParams p) {
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

__device__ const std::byte* bytes_of(const Segment& segment, const Record& record) {
  return (segment.place == seesaw::Place::kRow ? record.row : record.tail) + segment.offset;
}

// The scale of a chunk's columns, as it is stored: groups are of 8 columns or more, and begin on a
// multiple of 8.
template <bool kAligned>
__device__ uint32_t load_scale(const GatherParams& p, const Record& record, int column) {
  const int bits = bits_of(p.scales.type);
  const std::byte* const at =
      bytes_of(p.scales, record) + p.scale_group.divide(column) * (bits / 8);
  if constexpr (kAligned) {
    return bits == 32 ? *reinterpret_cast<const uint32_t*>(at) : static_cast<uint32_t>(*at);
  } else {
    return load_bytes(at, bits / 8);
  }
}

__device__ float scale_from(uint32_t stored, ElementType type) {
  switch (type) {
    case ElementType::kFloat8E8M0:
      return from_e8m0(static_cast<uint8_t>(stored));
    case ElementType::kFloat8E4M3:
      return from_e4m3(static_cast<uint8_t>(stored));
    default:
      return float_of(stored);
  }
}

// Whether rows begin on 16 bytes and segments are whole chunks of up to 16 bytes: one access each.
enum class Chunks { kWhole, kAny };

// Chunks of a segment that a lane has at once: every 32nd from `first` on. All are asked for before
// the first is used.
template <Chunks kChunks, int kAtOnce>
struct LaneChunks {
  static constexpr bool kWhole = kChunks == Chunks::kWhole;

  const GatherParams& p;
  const Segment& segment;
  int segment_column;  // of the record: the segment's first
  int first;
  Chunk chunk[kAtOnce];
  uint32_t scale[kAtOnce];

  __device__ int begin(int i) const { return (first + 32 * i) * kChunk; }  // of the segment
  __device__ int count(int i) const {
    return kWhole ? kChunk : min(kChunk, segment.count - begin(i));
  }
  __device__ bool scaled(int i) const { return segment_column + begin(i) < p.scaled_columns; }

  __device__ void load(const Record& record) {
    const std::byte* const from = bytes_of(segment, record);
    const int bits = bits_of(segment.type);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (begin(i) >= segment.count) {
        continue;
      }
      const std::byte* const at = from + begin(i) * bits / 8;
      chunk[i] = kWhole ? load_narrow_chunk(at, bits) : load_chunk(at, bits, count(i), p.aligned);
      if (scaled(i)) {
        scale[i] = load_scale<kWhole>(p, record, segment_column + begin(i));
      }
    }
  }

  // One scale is 1: no format has both.
  template <typename T>
  __device__ void store(float kv_scale, T* out) const {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (begin(i) >= segment.count) {
        continue;
      }
      float values[kChunk];
      decode(chunk[i], segment.type, values);
      const float factor = scaled(i) ? scale_from(scale[i], p.scales.type) : kv_scale;
#pragma unroll
      for (int c = 0; c < kChunk; ++c) {
        values[c] *= factor;
      }
      store_chunk(values, out + segment_column + begin(i), count(i), kWhole || p.aligned);
    }
  }
};

// [2] Formats with scales are read at once; plain ones may have more columns.
template <Chunks kChunks, typename T>
__device__ void convert_record(const GatherParams& p, const Record& record, float kv_scale, T* out,
                               int lane) {
  constexpr int kLatent = kChunks == Chunks::kWhole ? 2 : 1;  // chunks at once
  for (int round = 0; round * 32 * kChunk < max(p.latent.count / kLatent, p.rotary.count);
       ++round) {
    LaneChunks<kChunks, kLatent> latent = {p, p.latent, 0, lane + 32 * kLatent * round};
    LaneChunks<kChunks, 1> rotary = {p, p.rotary, p.latent.count, lane + 32 * round};
    latent.load(record);
    rotary.load(record);
    latent.store(kv_scale, out);
    rotary.store(kv_scale, out);
  }
}

template <typename T>
__device__ void clear_columns(int count, T* out, int lane) {  // [3]
  for (int column = lane; column < count; column += 32) {
    out[column] = static_cast<T>(0.0F);
  }
}

template <Chunks kChunks, typename T>
__global__ void __launch_bounds__(kThreads, kChunks == Chunks::kWhole ? 4 : 2)
    convert_kernel(const __grid_constant__ GatherParams p) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float kv_scale = p.kv_scale == nullptr ? 1.0F : *p.kv_scale;
  for_each_row(p, [&](int64_t row) {
    const Record record = find(p, row, lane);  // [1]
    T* const out = reinterpret_cast<T*>(p.out + row * p.out_stride);
    if (record.row == nullptr) {
      clear_columns(p.latent.count + p.rotary.count, out, lane);
    } else {
      convert_record<kChunks>(p, record, kv_scale, out, lane);
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

template <typename T>
cudaError_t launch_convert(const GatherParams& params, int32_t num_sms, cudaStream_t stream) {
  const bool whole = params.latent.type != ElementType::kFloat32 && params.aligned &&
                     params.latent.count % kChunk == 0 && params.rotary.count % kChunk == 0;
  return launch(whole ? convert_kernel<Chunks::kWhole, T> : convert_kernel<Chunks::kAny, T>, params,
                num_sms, stream);
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
      return launch_convert<__nv_bfloat16>(params, num_sms, stream);
    case DType::kFloat16:
      return launch_convert<__half>(params, num_sms, stream);
    default:
      return launch_convert<float>(params, num_sms, stream);
  }
}

}  // namespace seesaw::gather::gpu
