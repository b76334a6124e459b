// [3] Records as they are cached become rows of the queries' type, in the layout that the products
// read: element times scale, rounded once.
#pragma once

#include "attention/sm80/loader.cuh"
#include "gpu/chunk.cuh"
#include "gpu/ptx/arithmetic.cuh"

namespace seesaw::attention::sm80 {

// Where a column stands: its segment, and its element there.
struct ColumnPlace {
  const Segment* segment;
  int element;
};

__device__ __forceinline__ ColumnPlace place_of_column(const StreamParams& stream, int column) {
  const bool rotary = column >= stream.latent.count;
  return {rotary ? &stream.rotary : &stream.latent, rotary ? column - stream.latent.count : column};
}

// The number that one scale of `bits` stands for.
__device__ __forceinline__ float scale_of_bits(ElementType type, uint32_t bits) {
  float values[gpu::kChunk];
  gpu::decode({{bits}}, type, values);
  return values[0];
}

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

__device__ __forceinline__ float stream_scale(const StreamParams& stream) {
  return stream.scale == nullptr ? 1.0F : *stream.scale;
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

// Eight elements from `address`, which is a multiple of their bytes but where a record says
// otherwise: then by words.
__device__ __forceinline__ gpu::Chunk load_raw_chunk(uint32_t address, int bits) {
  gpu::Chunk chunk = {};
  const int words = bits / 4;  // of eight elements
#pragma unroll
  for (int i = 0; i < gpu::kChunk; ++i) {
    if (i < words) chunk.word[i] = ptx::load_shared_4(address + 4 * i);
  }
  return chunk;
}

// Converts the tile in raw stage `raw_stage` into tile `stage`: eight columns of a token a thread
// at a time, kRowLanes threads a token.
template <typename Config>
__device__ __forceinline__ void convert_tile(const Params& params, const StreamParams& stream,
                                             const Shared<Config>& shared, int32_t raw_stage,
                                             int32_t stage) {
  const int32_t pitch = params.shared.raw_pitch;
  const int lane = static_cast<int>(threadIdx.x) % kRowLanes;
  const float whole_scale = stream_scale(stream);
#pragma unroll 1
  for (int token = static_cast<int>(threadIdx.x) / kRowLanes; token < kTileTokens;
       token += Config::kThreads / kRowLanes) {
    RawRecord record;
    record.row = shared.raw_tile(raw_stage, pitch) + static_cast<uint32_t>(token * pitch);
    record.tail = record.row + static_cast<uint32_t>(raw_tail_offset(stream.copy_bytes));
#pragma unroll 1
    for (int chunk = lane; chunk * kChunkColumns < params.d_qk; chunk += kRowLanes) {
      const int column = chunk * kChunkColumns;
      const ColumnPlace place = place_of_column(stream, column);
      const int bits = bits_of(place.segment->type);
      const gpu::Chunk elements = load_raw_chunk(
          record.row + static_cast<uint32_t>(place.segment->offset + place.element * bits / 8),
          bits);
      float values[gpu::kChunk];
      gpu::decode(elements, place.segment->type, values);
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
        words[i] =
            ptx::pack<typename Config::Element>(values[2 * i] * scale, values[2 * i + 1] * scale);
      }
      ptx::store_shared_16(shared.tile(stage) + chunk_offset<Config>(token, chunk),
                           make_uint4(words[0], words[1], words[2], words[3]));
    }
  }
}

}  // namespace seesaw::attention::sm80
