// Where the tiles of a worker's pieces are, and their rows: which part of whose list or block
// table, which rows of which cache.
//
// The producer warps take turns: warp w finds the tiles w, w + 8, w + 16, ... of the worker, and
// publishes them (TileRows) to all of them, kTilesAhead before they are brought: rows at once,
// scales when they have landed.
#pragma once

#include "attention/device/record.cuh"
#include "attention/sm90/smem.cuh"
#include "gpu/ptx/cp_async.cuh"

namespace seesaw::attention::sm90 {

// A producer warp's walk. Where it is stands in shared memory (TileCursor), written by lane 0.
template <typename Config>
struct TileWalk {
  const Params& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  int warp;
  int lane;

  __device__ __forceinline__ TileCursor& cursor() const { return storage.cursor[warp]; }

  // To the first tile that this warp finds.
  __device__ __forceinline__ void start() const {
    if (lane == 0) {
      TileCursor& at = cursor();
      at.k = -1;
      at.buffer = 0;
      at.filling[0] = at.filling[1] = 0;
      begin_piece(at);
      skip(at, warp);
    }
    ask_for_ids();
  }

  // Publishes tile number n, at which the cursor is and whose ids have landed, goes on to the
  // warp's next one and asks for the ids of that.
  __device__ __forceinline__ void find(uint32_t n) const {
    TileRows& rows = storage.rows[n % kRowSlots];
    const int32_t stream = cursor().stream;
    if (lane == 0) {
      rows.stream = stream;
      rows.buffer = cursor().buffer;
      rows.filling = cursor().filling[rows.buffer];
    }
    if (stream != kNoStream) {
#pragma unroll
      for (int half = 0; half < 2; ++half) find_half(rows, half);
      if constexpr (Config::kConverts) shared.scales_full(n).arrive_behind_copies();
    }
    __syncwarp();  // everybody has written, and has read the cursor
    if (lane == 0) {
      shared.rows_full(n).arrive();
      skip(cursor(), kProducerWarps);
    }
    ask_for_ids();
  }

  // ---- the lane's token of a half of the tile at the cursor

  static constexpr int kHalfTokens = kTileTokens / 2;
  static_assert(kHalfTokens == 32, "a token a lane");

  __device__ __forceinline__ void ask_for_ids() const {
    __syncwarp();
    const TileCursor& at = cursor();
    if (at.stream == kNoStream) return;
    const StreamParams& stream = params.streams[at.stream];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int of_tile = half * kHalfTokens + lane;
      const int32_t token = at.token + of_tile;
      const bool exists = token < at.length;
      ptx::copy_async_4(ptx::shared_address(&storage.ids[warp][of_tile]),
                        exists ? at.ids + id_index(stream, token) : at.ids, exists);
    }
  }

  __device__ __forceinline__ void find_half(TileRows& rows, int half) const {
    const TileCursor& at = cursor();
    const StreamParams& stream = params.streams[at.stream];
    const int of_tile = half * kHalfTokens + lane;
    const int32_t token = at.token + of_tile;
    const Slot slot = slot_of(stream, token, storage.ids[warp][of_tile]);
    const bool exists = token < at.length && slot.exists;
    const RowNumbers& numbers = params.rows[at.stream];
    rows.row[of_tile] = !exists ? kNoRow
                                : static_cast<uint32_t>(slot.page) * numbers.page +
                                      static_cast<uint32_t>(slot.of_page) * numbers.row +
                                      static_cast<uint32_t>(block_kv_head()) * numbers.head;
    const uint32_t valid = __ballot_sync(~0u, exists);
    if (lane == 0) rows.valid[half] = valid;
    if constexpr (Config::kConverts) {
      ask_for_scales(record_at(stream, slot), exists, params.boxes[at.stream],
                     rows.scales[of_tile]);
    }
  }

  // Zeros of a token that does not exist.
  __device__ __forceinline__ void ask_for_scales(const Record& record, bool exists,
                                                 const RecordBoxes& boxes,
                                                 const uint32_t (&to)[kScaleWords]) const {
    const std::byte* begin = boxes.scales_in_tail ? record.tail : record.row;
    const std::byte* from =
        exists ? begin + boxes.scale_offset : reinterpret_cast<const std::byte*>(params.q);
#pragma unroll
    for (int i = 0; i < kScaleWords; ++i) {
      if (i < boxes.scale_words) {
        ptx::copy_async_4(ptx::shared_address(&to[i]), from + i * sizeof(uint32_t), exists);
      }
    }
  }

  // ---- the cursor, by lane 0

  // Goes on by so many tiles, or behind the last one.
  __device__ __forceinline__ void skip(TileCursor& at, int32_t tiles) const {
#pragma unroll 1
    while (tiles > 0 && at.stream != kNoStream) {
      const int32_t steps = min(tiles, at.run_end - at.tile);
      const auto filled = static_cast<uint32_t>(steps);
      at.filling[at.buffer] += (filled + 1) / 2;
      at.filling[at.buffer ^ 1] += filled / 2;
      at.buffer ^= steps & 1;
      at.token += steps * kTileTokens;
      at.tile += steps;
      tiles -= steps;
      if (at.tile == at.tile_end) {
        begin_piece(at);
      } else if (at.tile == at.run_end) {
        begin_run(at);
      }
    }
  }

  // The next piece that has tiles.
  __device__ __forceinline__ void begin_piece(TileCursor& at) const {
    at.stream = kNoStream;
    do {
      if (++at.k >= storage.work.num_pieces) return;
      const PieceWork piece = read_piece<Config>(params, storage.work, at.k);
      at.tile = piece.tile_begin;
      at.tile_end = piece.tile_end;
    } while (at.tile >= at.tile_end);
    at.buffer = 0;
    begin_run(at);
  }

  // A stream of the item begins, or the piece.
  __device__ __forceinline__ void begin_run(TileCursor& at) const {
    const Item item =
        read_item<Config>(params, params.pieces[storage.work.piece_at(at.k)].sequence);
    const TilePlace place = place_of_tile<Config>(item, at.tile);
    at.stream = place.stream;
    at.token = place.token;
    at.length = place.length;
    at.run_end = place.stream == 0 ? min(item.first_tiles, at.tile_end) : at.tile_end;
    at.ids = ids_of(params.streams[place.stream], item);
  }
};

}  // namespace seesaw::attention::sm90
