// [3] Records as they are cached become rows of the queries' type, in the layout that the products
// read: element times scale, rounded once.
#pragma once

#include "attention/sm80/loader.cuh"
#include "gpu/chunk.cuh"
#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/convert.cuh"

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

// Records of e4m3, each run of kRunColumns by one thread. Eight neighbouring threads have eight
// tokens and the same columns, which are in eight different groups of banks: of records by their
// pitch, of the tile by its swizzle.
template <typename Config>
struct RunConverter {
  static constexpr int kParts = Config::kThreads / kTileTokens;  // threads that share a token

  const StreamParams& stream;
  RawRecord record;
  uint32_t tile;
  int token;
  int part;

  // A run's scale: float32, e8m0, or 1 where there are none. Without branches, which would keep a
  // run's reads from overlapping.
  __device__ __forceinline__ float scale_of(int column) const {
    const bool wide = stream.scales.type == ElementType::kFloat32;
    const uint32_t begin = stream.scales.place == Place::kTail ? record.tail : record.row;
    const uint32_t index = static_cast<uint32_t>(stream.scale_group.divide(column));
    const uint32_t at =
        begin + static_cast<uint32_t>(stream.scales.offset) + (index << (wide ? 2 : 0));
    const uint32_t word = ptx::load_shared_4(at & ~3U);
    const float narrow = from_e8m0(static_cast<uint8_t>(word >> (8 * (at & 3U))));
    return stream.scaled_columns == 0 ? 1.0F : wide ? __uint_as_float(word) : narrow;
  }

  // What a run is in the record.
  struct Run {
    uint4 first, second;
    float scale;
  };
  __device__ __forceinline__ Run load(int run) const {
    const uint32_t at =
        record.row + static_cast<uint32_t>(stream.latent.offset + run * kRunColumns);
    return {ptx::load_shared_16(at), ptx::load_shared_16(at + kChunkBytes),
            scale_of(run * kRunColumns)};
  }

  // Eight columns that lie as e4m3 in two words.
  __device__ __forceinline__ void store(uint32_t to, uint32_t low, uint32_t high,
                                        float scale) const {
    using Element = typename Config::Element;
    const float4 a = ptx::unpack_e4m3(low);
    const float4 b = ptx::unpack_e4m3(high);
    ptx::store_shared_16(to, make_uint4(ptx::pack<Element>(a.x * scale, a.y * scale),
                                        ptx::pack<Element>(a.z * scale, a.w * scale),
                                        ptx::pack<Element>(b.x * scale, b.y * scale),
                                        ptx::pack<Element>(b.z * scale, b.w * scale)));
  }

  // A run is read while the one before it is converted.
  __device__ __forceinline__ void convert() const {
    const int runs = stream.latent.count / kRunColumns;
    const float whole_scale = stream_scale(stream);
    if (part >= runs) return;
    Run next = load(part);
#pragma unroll 1
    for (int run = part; run < runs; run += kParts) {
      const Run now = next;
      if (run + kParts < runs) next = load(run + kParts);
      const float scale = now.scale * whole_scale;
      // Four chunks of 64 bytes, in which the swizzle turns the last bits of their numbers.
      const uint32_t to = tile + chunk_offset<Config>(token, run * (kRunColumns / kChunkColumns));
      store(to, now.first.x, now.first.y, scale);
      store(to ^ kChunkBytes, now.first.z, now.first.w, scale);
      store(to ^ (2 * kChunkBytes), now.second.x, now.second.y, scale);
      store(to ^ (3 * kChunkBytes), now.second.z, now.second.w, scale);
    }
  }

  __device__ __forceinline__ void copy_rotary() const {
    const uint32_t from = record.row + static_cast<uint32_t>(stream.rotary.offset);
    const int first = stream.latent.count / kChunkColumns;
#pragma unroll 1
    for (int chunk = part; chunk < stream.rotary.count / kChunkColumns; chunk += kParts) {
      ptx::store_shared_16(tile + chunk_offset<Config>(token, first + chunk),
                           ptx::load_shared_16(from + static_cast<uint32_t>(chunk * kChunkBytes)));
    }
  }
};

// Converts the tile in raw stage `raw_stage` into tile `stage`.
template <typename Config>
__device__ __forceinline__ void convert_tile(const Params& params, const StreamParams& stream,
                                             const Shared<Config>& shared, int32_t raw_stage,
                                             int32_t stage) {
  const int32_t pitch = params.shared.raw_pitch;
  const int thread = ptx::thread_index();
  const auto record_of_token = [&](int token) {
    const uint32_t row = shared.raw_tile(raw_stage, pitch) + static_cast<uint32_t>(token * pitch);
    return RawRecord{row, row + static_cast<uint32_t>(raw_tail_offset(stream.copy_bytes))};
  };
  if (stream.runs) {
    const int token = thread / 32 % 4 * 8 + thread % 8;
    const RunConverter<Config> converter = {.stream = stream,
                                            .record = record_of_token(token),
                                            .tile = shared.tile(stage),
                                            .token = token,
                                            .part = thread / 128 * 4 + thread / 8 % 4};
    converter.convert();
    if (stream.rotary_as_is) return converter.copy_rotary();
  }
  RecordConverter<Config> converter = {.params = params,
                                       .stream = stream,
                                       .record = {},
                                       .tile = shared.tile(stage),
                                       .token = thread / kRowLanes,
                                       .lane = thread % kRowLanes,
                                       .whole_scale = stream_scale(stream)};
#pragma unroll 1
  for (; converter.token < kTileTokens; converter.token += Config::kThreads / kRowLanes) {
    converter.record = record_of_token(converter.token);
    if (!stream.runs) converter.convert(stream.latent, 0);
    if (stream.rotary.count > 0) converter.convert(stream.rotary, stream.latent.count);
  }
}

}  // namespace seesaw::attention::sm80
