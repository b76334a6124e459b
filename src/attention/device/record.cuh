// Where a token's record is, and what a column of it is. A stream is a function from token number
// to record: pages through a block table, or a list of slots, which this file alone knows.
#pragma once

#include "attention/device/work.cuh"
#include "gpu/chunk.cuh"
#include "gpu/ptx/arithmetic.cuh"

namespace seesaw::attention::device {

// A token's record in the cache; row null: there is none.
struct Record {
  const std::byte* row;
  const std::byte* tail;
};

// Where a token lies in its stream's cache.
struct Slot {
  int32_t page;
  int32_t of_page;
  bool exists;
};

// The slot of token number `token` of the item, given what the stream's ids say of it.
__device__ __forceinline__ Slot slot_of(const StreamParams& stream, int32_t token, int32_t id) {
  // No branches: this is on every tile's way.
  const int32_t number = stream.indices ? id : token;
  const int32_t quotient = stream.page_size.divide(number);
  return {.page = stream.indices ? quotient : id,
          .of_page = stream.page_size.remainder(number, quotient),
          .exists = !stream.indices || static_cast<uint32_t>(id) < stream.slots};
}

__device__ __forceinline__ Record record_at(const StreamParams& stream, const Slot& slot) {
  const std::byte* begin =
      stream.cache + slot.page * stream.page_stride + block_kv_head() * stream.head_stride;
  return {slot.exists ? begin + slot.of_page * stream.row_stride : nullptr,
          begin + stream.tails + slot.of_page * stream.tail_bytes};
}

// The record of token number `token` of the item.
__device__ __forceinline__ Record record_of(const StreamParams& stream, int32_t token, int32_t id) {
  return record_at(stream, slot_of(stream, token, id));
}

// The stream's ids of an item, and what they say of a token, which exists.
__device__ __forceinline__ const int32_t* ids_of(const StreamParams& stream, const Item& item) {
  return stream.ids + item.sequence * stream.ids_stride_sequence +
         (stream.indices ? item.token_of_sequence * stream.ids_stride_token : 0);
}
__device__ __forceinline__ int32_t id_index(const StreamParams& stream, int32_t token) {
  return stream.indices ? token : stream.page_size.divide(token);
}
__device__ __forceinline__ int32_t id_of(const StreamParams& stream, const int32_t* ids,
                                         int32_t token) {
  return ids[id_index(stream, token)];
}

__device__ __forceinline__ uint32_t word_of_bytes(const std::byte* from, int count) {
  uint32_t word = 0;
#pragma unroll 1
  for (int i = 0; i < count; ++i) word |= static_cast<uint32_t>(from[i]) << (8 * i);
  return word;
}

// The number that one scale of `bits` stands for.
__device__ __forceinline__ float scale_of_bits(ElementType type, uint32_t bits) {
  switch (type) {
    case ElementType::kFloat32:
      return __uint_as_float(bits);
    case ElementType::kFloat8E8M0:
      return from_e8m0(static_cast<uint8_t>(bits));
    default:
      return gpu::e4m3(bits);
  }
}

__device__ __forceinline__ float stream_scale(const StreamParams& stream) {
  return stream.scale == nullptr ? 1.0F : *stream.scale;
}

// One number of a record in global memory, rounded once to the type of the queries, as every kernel
// rounds it.
template <typename Config>
__device__ __forceinline__ float number_of(const StreamParams& stream, const Record& record,
                                           int column) {
  const bool rotary = column >= stream.latent.count;
  const ElementType type = rotary ? stream.rotary.type : stream.latent.type;
  const int element = rotary ? column - stream.latent.count : column;
  const int bit =
      (rotary ? stream.rotary.offset : stream.latent.offset) * 8 + element * bits_of(type);
  float values[gpu::kChunk];
  gpu::Chunk chunk = {};
  chunk.word[0] = word_of_bytes(record.row + bit / 8, (bits_of(type) + 7) / 8) >> (bit % 8);
  gpu::decode(chunk, type, values);
  if constexpr (!Config::kConverts) return values[0];
  float scale = stream_scale(stream);
  if (column < stream.scaled_columns) {
    const int bytes = bits_of(stream.scales.type) / 8;
    const std::byte* scales = stream.scales.place == Place::kTail ? record.tail : record.row;
    scale *= scale_of_bits(
        stream.scales.type,
        word_of_bytes(scales + stream.scales.offset + stream.scale_group.divide(column) * bytes,
                      bytes));
  }
  return ptx::unpack<typename Config::Element>(
             ptx::pack<typename Config::Element>(values[0] * scale, 0.0F))
      .x;
}

}  // namespace seesaw::attention::device
