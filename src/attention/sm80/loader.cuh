// [1] Tiles on their way into shared memory: every thread copies parts of rows, by cp.async, tiles
// ahead of their use. Where rows are: attention/device/record.cuh.
#pragma once

#include "attention/device/record.cuh"
#include "attention/sm80/smem.cuh"
#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm80 {

// `bytes` of memory, or as many zeros. Addresses and sizes are multiples of `unit`: 16, 4 or 1.
struct Run {
  const std::byte* from;  // an address that exists even if nothing is read
  bool valid;
  int bytes;
  int unit;
};

// The part of `lane`, one of the kRowLanes threads that share a row, of a run's copy: chunks lane,
// lane + 8, .., of which the first goes to `to` and the others 128 bytes apart. A last part of a
// chunk is filled up with zeros. At most kMost chunks a thread.
template <int kMost>
__device__ __forceinline__ void copy_run(const Run& run, int lane, uint32_t to) {
  constexpr int kStep = kRowLanes * kChunkBytes;
  const std::byte* from = run.from + lane * kChunkBytes;
  const int left = run.bytes - lane * kChunkBytes;
  if (run.unit == kChunkBytes) {
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      ptx::copy_async_16_if(i * kStep < left, to + i * kStep, from + i * kStep, run.valid);
    }
    return;
  }
#pragma unroll 1
  for (int at = 0; at / kChunkBytes * kChunkBytes < left;
       at += at % kChunkBytes == 12 ? kStep - 12 : 4) {
    const int bytes = run.valid ? min(max(left - at, 0), 4) : 0;
    if (run.unit == 4) {
      ptx::copy_async_4(to + at, from + at, bytes == 4);
    } else {
      ptx::store_shared_4(to + at, word_of_bytes(from + at, bytes));
    }
  }
}

// Walks the tiles of all the block's pieces in order, ahead of the products. One thread writes a
// ticket for each tile; behind a barrier all threads copy by it.
template <typename Config>
struct TileLoader {
  const Params& params;
  const Shared<Config>& shared;

  struct RowPart {
    int lane;
    int row;
  };

  // What the ids say of this thread's rows of a tile: loaded well before the rows are.
  struct Ids {
    int32_t of[Config::kLoadRows];
  };

  // A thread's part of a tile: of rows row(0), row(1), .. what `lane` copies.
  struct Part {
    int thread = ptx::thread_index();
    int lane = thread % kRowLanes;

    __device__ __forceinline__ int row(int i) const {
      return thread / kRowLanes + i * (Config::kThreads / kRowLanes);
    }
  };

  __device__ __forceinline__ const TileTicket& ticket(uint32_t number) const {
    return shared.rest.ticket[number % kValidTiles];
  }

  // Behind the last tile there are zeros to be copied, of no length.
  __device__ __forceinline__ const StreamParams& stream_of(const TileTicket& wanted) const {
    return params.streams[max(wanted.stream, 0)];
  }

  __device__ __forceinline__ void start() const {
    if (threadIdx.x != 0) return;
    shared.rest.cursor.k = -1;
    shared.rest.cursor.tile = shared.rest.cursor.tile_end = shared.rest.cursor.run_end = 0;
  }

  // Thread 0: the ticket of tile `number`, the next one that exists.
  __device__ __forceinline__ void write_ticket(uint32_t number) const {
    if (threadIdx.x != 0) return;
    TileCursor& cursor = shared.rest.cursor;
    TileTicket& next = shared.rest.ticket[number % kValidTiles];
    ++cursor.tile;
    if (cursor.tile < cursor.run_end) {  // the tile behind the last one, of the same stream
      next = shared.rest.ticket[(number - 1) % kValidTiles];
      next.token += kTileTokens;
    } else {
      begin_run(params, shared.rest, next);
    }
  }

  // The same where another stream or another piece begins, or nothing is left.
  static __device__ __noinline__ void begin_run(const Params& params, SharedRest<Config>& rest,
                                                TileTicket& next) {
    TileCursor& cursor = rest.cursor;
    if (cursor.tile >= cursor.tile_end) next_piece(params, rest);
    next = {params.streams[0].ids, 0, 0, kNoStream};
    if (cursor.tile >= cursor.tile_end) return;
    const TilePlace place = place_of_tile<Config>(cursor.item, cursor.tile);
    cursor.run_end =
        place.stream == 0 ? min(cursor.item.first_tiles, cursor.tile_end) : cursor.tile_end;
    next = {ids_of(params.streams[place.stream], cursor.item), place.token, place.length,
            place.stream};
  }

  // The cursor's first tile of the next piece that has any.
  static __device__ __forceinline__ void next_piece(const Params& params,
                                                    SharedRest<Config>& rest) {
    TileCursor& cursor = rest.cursor;
    while (cursor.tile >= cursor.tile_end && cursor.k + 1 < rest.work.num_pieces) {
      const PieceWork piece = read_piece<Config>(params, rest.work, ++cursor.k);
      cursor.item = piece.item;
      cursor.tile = piece.tile_begin;
      cursor.tile_end = piece.tile_end;
    }
  }

  __device__ __forceinline__ Ids find(uint32_t number) const {
    const TileTicket& wanted = ticket(number);
    const Part part;
    Ids ids = {};
    const StreamParams& stream = stream_of(wanted);
#pragma unroll
    for (int i = 0; i < Config::kLoadRows; ++i) {
      const int32_t token = wanted.token + part.row(i);
      ids.of[i] = token < wanted.length ? id_of(stream, wanted.ids, token) : -1;
    }
    return ids;
  }

  // Copies tile `number` into stage `stage` of its ring: a group of the thread's copies, perhaps
  // empty.
  __device__ __forceinline__ void copy(uint32_t number, int32_t stage, const Ids& ids) const {
    const TileTicket& wanted = ticket(number);
    const StreamParams& stream = stream_of(wanted);
    const Part part;
#pragma unroll
    for (int i = 0; i < Config::kLoadRows; ++i) {
      const int32_t token = wanted.token + part.row(i);
      const Record record =
          token < wanted.length ? record_of(stream, token, ids.of[i]) : Record{nullptr, nullptr};
      copy_record(stream, record, {part.lane, part.row(i)}, stage);
      if (stream.indices && part.lane == 0) {
        shared.rest.valid[number % kValidTiles][part.row(i)] = record.row != nullptr ? 1 : 0;
      }
    }
    ptx::copy_async_commit();
  }

  __device__ __forceinline__ void copy_record(const StreamParams& stream, const Record& record,
                                              RowPart part, int32_t stage) const {
    const bool valid = record.row != nullptr;
    const Run row = {valid ? record.row : stream.cache, valid, stream.copy_bytes, stream.unit};
    if constexpr (Config::kConverts) {
      constexpr int kMost = 4 * Config::kColumns / kChunkBytes / kRowLanes;  // of float32
      const uint32_t row_at =
          shared.raw_tile(stage, params.shared.raw_pitch) +
          static_cast<uint32_t>(part.row * params.shared.raw_pitch + part.lane * kChunkBytes);
      copy_run<kMost>(row, part.lane, row_at);
      if (stream.tail_bytes > 0) {
        copy_run<1>(
            {valid ? record.tail : stream.cache, valid, stream.tail_bytes, stream.tail_unit},
            part.lane, row_at + static_cast<uint32_t>(raw_tail_offset(stream.copy_bytes)));
      }
    } else {
      copy_run<Config::kColumns / kChunkColumns / kRowLanes>(
          row, part.lane, shared.tile(stage) + chunk_offset<Config>(part.row, part.lane));
    }
  }
};

}  // namespace seesaw::attention::sm80
