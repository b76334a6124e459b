// [1] Tiles on their way into shared memory: every thread copies parts of rows, by cp.async, tiles
// ahead of their use. A stream is a function from token number to row: pages through a block table
// or a list of slots, which this file alone knows.
#pragma once

#include "attention/sm80/smem.cuh"
#include "attention/sm80/work.cuh"
#include "gpu/ptx/cp_async.cuh"

namespace seesaw::attention::sm80 {

// A token's record in the cache; row null: there is none.
struct Record {
  const std::byte* row;
  const std::byte* tail;
};

// The record of token number `token` of the item, given what the stream's ids say of it.
__device__ __forceinline__ Record record_of(const StreamParams& stream, int32_t token,
                                            int32_t id) {
  int32_t page = id;
  int32_t number = token;
  if (stream.indices) {
    if (static_cast<uint32_t>(id) >= stream.slots) return {nullptr, nullptr};
    number = id;
    page = stream.page_size.divide(id);
  }
  const int32_t slot = stream.indices
                           ? stream.page_size.remainder(number, page)
                           : stream.page_size.remainder(number, stream.page_size.divide(number));
  const std::byte* begin = stream.cache + page * stream.page_stride + block_kv_head() * stream.head_stride;
  return {begin + slot * stream.row_stride, begin + stream.tails + slot * stream.tail_bytes};
}

// The stream's ids of an item, and what they say of a token, which exists.
__device__ __forceinline__ const int32_t* ids_of(const StreamParams& stream, const Item& item) {
  return stream.ids + item.sequence * stream.ids_stride_sequence +
         (stream.indices ? item.token_of_sequence * stream.ids_stride_token : 0);
}
__device__ __forceinline__ int32_t id_of(const StreamParams& stream, const int32_t* ids,
                                         int32_t token) {
  return ids[stream.indices ? token : stream.page_size.divide(token)];
}

__device__ __forceinline__ uint32_t word_of_bytes(const std::byte* from, int count) {
  uint32_t word = 0;
  for (int i = 0; i < count; ++i) word |= static_cast<uint32_t>(from[i]) << (8 * i);
  return word;
}

// `bytes` of memory, or as many zeros. Addresses and sizes are multiples of `unit`: 16, 4 or 1.
struct Run {
  const std::byte* from;  // an address that exists even if nothing is read
  bool valid;
  int bytes;
  int unit;
};

// Copies a run, and zeros up to a whole chunk, to the chunks at destination(chunk), by the
// kRowLanes threads that share a row; `lane` of them is this one.
template <typename Destination>
__device__ __forceinline__ void copy_run(const Run& run, int lane, Destination destination) {
  const auto& [from, valid, bytes, unit] = run;
  if (unit == 16) {
    for (int chunk = lane; chunk * kChunkBytes < bytes; chunk += kRowLanes) {
      const int left = min(bytes - chunk * kChunkBytes, kChunkBytes);
      ptx::copy_async_16_of(destination(chunk), from + chunk * kChunkBytes, valid ? left : 0);
    }
    return;
  }
  const int words = (bytes + kChunkBytes - 1) / kChunkBytes * (kChunkBytes / 4);
#pragma unroll 1
  for (int word = lane; word < words; word += kRowLanes) {
    const int left = valid ? min(max(bytes - 4 * word, 0), 4) : 0;
    const uint32_t to = destination(word / 4) + static_cast<uint32_t>(word % 4 * 4);
    if (unit == 4) {
      ptx::copy_async_4(to, from + 4 * word, left == 4);
    } else {
      ptx::store_shared_4(to, word_of_bytes(from + 4 * word, left));
    }
  }
}

// Walks the tiles of all the block's pieces in order, ahead of the products. One thread writes a
// ticket for each tile; behind a barrier all threads copy by it.
template <typename Config>
struct TileLoader {
  const Params& params;
  const Shared<Config>& shared;

  // What the ids say of this thread's rows of a tile: loaded well before the rows are.
  struct Ids {
    int32_t of[Config::kLoadRows];
  };

  static __device__ __forceinline__ int lane() {
    return static_cast<int>(threadIdx.x) % kRowLanes;
  }
  // Rows row(0), row(1), .. of a tile are this thread's.
  static __device__ __forceinline__ int row(int i) {
    return static_cast<int>(threadIdx.x) / kRowLanes + i * (Config::kThreads / kRowLanes);
  }

  __device__ __forceinline__ const TileTicket& ticket(uint32_t number) const {
    return shared.rest.ticket[number % kValidTiles];
  }

  __device__ __forceinline__ void start() const {
    if (threadIdx.x != 0) return;
    shared.rest.cursor.k = -1;
    shared.rest.cursor.tile = shared.rest.cursor.tile_end = 0;
  }

  // Thread 0: the ticket of tile `number`, the next one that exists.
  __device__ __forceinline__ void write_ticket(uint32_t number) const {
    if (threadIdx.x != 0) return;
    TileCursor& cursor = shared.rest.cursor;
    TileTicket& next = shared.rest.ticket[number % kValidTiles];
    next.stream = kNoStream;
    ++cursor.tile;
    while (cursor.tile >= cursor.tile_end) {
      if (cursor.k + 1 >= shared.rest.work.num_pieces) return;
      const PieceWork piece = read_piece<Config>(params, shared.rest.work, ++cursor.k);
      cursor.item = piece.item;
      cursor.tile = piece.tile_begin;
      cursor.tile_end = piece.tile_end;
    }
    const TilePlace place = place_of_tile(cursor.item, cursor.tile);
    next.ids = ids_of(params.streams[place.stream], cursor.item);
    next.token = place.token;
    next.length = place.length;
    next.stream = place.stream;
  }

  __device__ __forceinline__ Ids find(uint32_t number) const {
    const TileTicket& wanted = ticket(number);
    Ids ids = {};
    if (wanted.stream == kNoStream) return ids;
    const StreamParams& stream = params.streams[wanted.stream];
#pragma unroll
    for (int i = 0; i < Config::kLoadRows; ++i) {
      const int32_t token = wanted.token + row(i);
      ids.of[i] = token < wanted.length ? id_of(stream, wanted.ids, token) : -1;
    }
    return ids;
  }

  // Copies tile `number` into stage `stage` of its ring: a group of the thread's copies, perhaps
  // empty.
  __device__ __forceinline__ void copy(uint32_t number, int32_t stage, const Ids& ids) const {
    const TileTicket& wanted = ticket(number);
    if (wanted.stream != kNoStream) {
      const StreamParams& stream = params.streams[wanted.stream];
#pragma unroll
      for (int i = 0; i < Config::kLoadRows; ++i) {
        const int32_t token = wanted.token + row(i);
        Record record = {nullptr, nullptr};
        if (token < wanted.length) record = record_of(stream, token, ids.of[i]);
        copy_record(stream, record, row(i), stage);
        if (stream.indices && lane() == 0) {
          shared.rest.valid[number % kValidTiles][row(i)] = record.row != nullptr ? 1 : 0;
        }
      }
    }
    ptx::copy_async_commit();
  }

  __device__ __forceinline__ void copy_record(const StreamParams& stream, const Record& record,
                                              int token, int32_t stage) const {
    const bool valid = record.row != nullptr;
    const Run row = {valid ? record.row : stream.cache, valid, stream.copy_bytes, stream.unit};
    if (params.shared.num_raw == 0) {
      const uint32_t tile_at = shared.tile(stage);
      copy_run(row, lane(),
               [=](int chunk) { return tile_at + chunk_offset<Config>(token, chunk); });
      return;
    }
    const uint32_t row_at =
        shared.raw_tile(stage, params.shared.raw_pitch) +
        static_cast<uint32_t>(token * params.shared.raw_pitch);
    const auto raw_chunk = [=](int chunk) {
      return row_at + static_cast<uint32_t>(chunk * kChunkBytes);
    };
    copy_run(row, lane(), raw_chunk);
    if (stream.tail_bytes > 0) {
      const int first_chunk = raw_tail_offset(stream.copy_bytes) / kChunkBytes;
      copy_run({valid ? record.tail : stream.cache, valid, stream.tail_bytes, stream.tail_unit},
               lane(), [=](int chunk) { return raw_chunk(first_chunk + chunk); });
    }
  }
};

}  // namespace seesaw::attention::sm80
