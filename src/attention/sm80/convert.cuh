// [3] Records as they are cached become rows of the queries' type, in the layout that the products
// read: element times scale, rounded once.
#pragma once

#include "attention/sm80/loader.cuh"
#include "gpu/chunk.cuh"
#include "gpu/ptx/arithmetic.cuh"

namespace seesaw::attention::sm80 {

// The bytes of a raw record in shared memory.
struct RawRecord {
  uint32_t row;
  uint32_t tail;
};

// `bytes` of at most 4 from shared memory, which do not cross a word.
__device__ __forceinline__ uint32_t load_part(uint32_t address, int bytes) {
  const uint32_t word = ptx::load_shared_4(address & ~3u) >> (8 * (address & 3u));
  return bytes == 4 ? word : word & ((1u << (8 * bytes)) - 1);
}

// The scale of a column in its record.
__device__ __forceinline__ float column_scale(const StreamParams& stream, const RawRecord& record,
                                              int column) {
  if (column >= stream.scaled_columns) return 1.0F;
  const int bytes = bits_of(stream.scales.type) / 8;
  const uint32_t begin = stream.scales.place == Place::kTail ? record.tail : record.row;
  const uint32_t address = begin + static_cast<uint32_t>(stream.scales.offset +
                                                         stream.scale_group.divide(column) * bytes);
  return scale_of_bits(stream.scales.type, load_part(address, bytes));
}

// Eight elements from `address`.
template <ElementType kType>
__device__ __forceinline__ gpu::Chunk load_raw_chunk(uint32_t address) {
  gpu::Chunk chunk = {};
#pragma unroll
  for (int i = 0; i < bits_of(kType) / 4; ++i) chunk.word[i] = ptx::load_shared_4(address + 4 * i);
  return chunk;
}

// One token's record, on its way to a row of a tile.
template <typename Config>
struct RecordConverter {
  const Params& params;
  const StreamParams& stream;
  RawRecord record;
  uint32_t tile;
  int token;
  int lane;  // of the kRowLanes threads that share the token
  float whole_scale;

  // Columns from `first` on, which are the segment's: eight at a time.
  __device__ __forceinline__ void convert(const Segment& segment, int first) const {
    switch (segment.type) {  // the loop is each type's own
      case ElementType::kFloat32:
        return convert_as<ElementType::kFloat32>(segment, first);
      case ElementType::kBFloat16:
        return convert_as<ElementType::kBFloat16>(segment, first);
      case ElementType::kFloat16:
        return convert_as<ElementType::kFloat16>(segment, first);
      case ElementType::kInt8:
        return convert_as<ElementType::kInt8>(segment, first);
      case ElementType::kFloat8E4M3:
        return convert_as<ElementType::kFloat8E4M3>(segment, first);
      default:
        return convert_as<ElementType::kFloat4E2M1>(segment, first);
    }
  }

  template <ElementType kType>
  __device__ __forceinline__ void convert_as(const Segment& segment, int first) const {
    using Element = typename Config::Element;
    constexpr int kChunkBits = kChunkColumns * bits_of(kType);
    const uint32_t from = record.row + static_cast<uint32_t>(segment.offset);
    const int count = min(segment.count, params.d_qk - first);
#pragma unroll 1
    for (int chunk = lane; chunk * kChunkColumns < count; chunk += kRowLanes) {
      const int column = first + chunk * kChunkColumns;
      float values[gpu::kChunk];
      gpu::decode(load_raw_chunk<kType>(from + static_cast<uint32_t>(chunk * (kChunkBits / 8))),
                  kType, values);
      const float scale = column_scale(stream, record, column) * whole_scale;
      if (column + kChunkColumns > params.d_qk) {
#pragma unroll
        for (int i = 0; i < kChunkColumns; ++i) {
          if (column + i >= params.d_qk) values[i] = 0.0F;
        }
      }
      uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        words[i] = ptx::pack<Element>(values[2 * i] * scale, values[2 * i + 1] * scale);
      }
      ptx::store_shared_16(tile + chunk_offset<Config>(token, column / kChunkColumns),
                           make_uint4(words[0], words[1], words[2], words[3]));
    }
  }
};

// Converts the tile in raw stage `raw_stage` into tile `stage`: kRowLanes threads a token.
template <typename Config>
__device__ __forceinline__ void convert_tile(const Params& params, const StreamParams& stream,
                                             const Shared<Config>& shared, int32_t raw_stage,
                                             int32_t stage) {
  const int32_t pitch = params.shared.raw_pitch;
  const int thread = ptx::thread_index();
  RecordConverter<Config> converter = {.params = params,
                                       .stream = stream,
                                       .record = {},
                                       .tile = shared.tile(stage),
                                       .token = thread / kRowLanes,
                                       .lane = thread % kRowLanes,
                                       .whole_scale = stream_scale(stream)};
#pragma unroll 1
  for (; converter.token < kTileTokens; converter.token += Config::kThreads / kRowLanes) {
    const uint32_t row =
        shared.raw_tile(raw_stage, pitch) + static_cast<uint32_t>(converter.token * pitch);
    converter.record = {row, row + static_cast<uint32_t>(raw_tail_offset(stream.copy_bytes))};
    converter.convert(stream.latent, 0);
    if (stream.rotary.count > 0) converter.convert(stream.rotary, stream.latent.count);
  }
}

}  // namespace seesaw::attention::sm80
