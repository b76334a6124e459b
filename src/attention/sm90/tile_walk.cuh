// Where the tiles of a worker's pieces are, and their rows: which part of whose list or block
// table, which rows of which cache.
#pragma once

#include "attention/device/record.cuh"
#include "attention/sm90/smem.cuh"

namespace seesaw::attention::sm90 {

inline constexpr int kHalfTokens = kTileTokens / 2;
static_assert(kHalfTokens == 32, "a token a lane");

inline constexpr uint32_t kNoRow = ~0u;

// A half of a tile on its way, and a lane's token of it.
struct HalfTile {
  int32_t stream = 0;
  int32_t buffer = 0;
  int32_t half = 0;
  uint32_t row = kNoRow;  // number in the cache (RowNumbers), or kNoRow
  uint32_t scales = 0;    // the warp's word of scales
};

// Walks the tiles of the worker's pieces, and finds their rows. Where it is stands in shared memory
// (TileCursor), as the producers' registers are full of loads under way; a warp has one of its own,
// which its lane 0 writes.
template <typename Config>
struct TileWalk {
  const Params& params;
  SharedStorage<Config>& storage;
  int warp;
  int lane;

  __device__ __forceinline__ TileCursor& cursor() const { return storage.cursor[warp]; }
  __device__ __forceinline__ bool ended() const { return cursor().stream == kNoStream; }

  __device__ __forceinline__ void start() const {
    if (lane == 0) {
      cursor().k = -1;
      cursor().tile = cursor().run_end = cursor().tile_end = 0;
    }
    __syncwarp();
    advance();
  }

  // Steps to the next tile that exists, if there is one.
  __device__ __forceinline__ void advance() const {
    __syncwarp();  // everybody has read
    if (lane == 0) step(cursor());
    __syncwarp();
  }

  __device__ __forceinline__ void step(TileCursor& at) const {
    at.token += kTileTokens;
    at.buffer ^= 1;
    if (++at.tile >= at.run_end) begin_run(at);
  }

  // The first tile of another stream of the item, or of another piece. A step has been counted.
  __device__ __forceinline__ void begin_run(TileCursor& at) const {
    if (at.tile >= at.tile_end) {
      do {
        if (++at.k >= storage.work.num_pieces) {
          at.stream = kNoStream;
          return;
        }
        const PieceWork piece = read_piece<Config>(params, storage.work, at.k);
        at.tile = piece.tile_begin;
        at.tile_end = piece.tile_end;
      } while (at.tile >= at.tile_end);
      at.buffer = 0;
    }
    const Item item =
        read_item<Config>(params, params.pieces[storage.work.piece_at(at.k)].sequence);
    const TilePlace place = place_of_tile<Config>(item, at.tile);
    at.stream = place.stream;
    at.token = place.token;
    at.length = place.length;
    at.run_end = place.stream == 0 ? min(item.first_tiles, at.tile_end) : at.tile_end;
    at.ids = ids_of(params.streams[place.stream], item);
  }

  // ---- rows, by halves of a tile, one a lane

  // What the ids say of the lane's token; -1 behind the last one.
  __device__ __forceinline__ int32_t find(int half) const {
    const TileCursor& at = cursor();
    const int32_t token = at.token + half * kHalfTokens + lane;
    return token < at.length ? id_of(params.streams[at.stream], at.ids, token) : -1;
  }

  // The half, given that.
  __device__ __forceinline__ HalfTile resolve(int half_of_tile, int32_t id) const {
    const TileCursor& at = cursor();
    const StreamParams& stream = params.streams[at.stream];
    HalfTile half = {.stream = at.stream, .buffer = at.buffer, .half = half_of_tile};
    const int32_t token = at.token + half_of_tile * kHalfTokens + lane;
    const Slot slot = slot_of(stream, token, id);
    if (token >= at.length || !slot.exists) return half;
    const RowNumbers& rows = params.rows[at.stream];
    half.row = static_cast<uint32_t>(slot.page) * rows.page +
               static_cast<uint32_t>(slot.of_page) * rows.row +
               static_cast<uint32_t>(block_kv_head()) * rows.head;
    if constexpr (Config::kConverts) {
      half.scales = load_scales(params.boxes[at.stream], record_at(stream, slot));
    }
    return half;
  }

  __device__ __forceinline__ uint32_t load_scales(const RecordBoxes& boxes,
                                                  const Record& record) const {
    const std::byte* from = (boxes.scales_in_tail ? record.tail : record.row) + boxes.scale_offset +
                            warp * boxes.scale_step;
    switch (boxes.scales) {
      case ScaleWord::kNone:
        return __float_as_uint(1.0F);
      case ScaleWord::kBytesOf64:
        return *reinterpret_cast<const uint16_t*>(from);
      default:
        return *reinterpret_cast<const uint32_t*>(from);
    }
  }
};

}  // namespace seesaw::attention::sm90
