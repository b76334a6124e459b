// Where the tiles of a worker's pieces are, and their rows: which part of whose list or block
// table, which rows of which cache.
//
// Every producer warp walks over the tiles of its buffer for itself: it finds its share of a tile's
// rows while it brings the tile before.
#pragma once

#include "attention/device/record.cuh"
#include "attention/sm90/smem.cuh"
#include "gpu/ptx/cp_async.cuh"

namespace seesaw::attention::sm90 {

inline constexpr int32_t kNoStream = -1;
inline constexpr uint32_t kNoRow = ~0u;

// A warp's share of a tile, found.
struct TileShare {
  int32_t stream;  // kNoStream: there are no more tiles
  uint32_t valid;  // tokens that exist, a bit each
  uint32_t row;    // of the lane's token: number in the cache (RowNumbers), or kNoRow
};

// Where the walk is stands in shared memory (TileCursor), written by lane 0.
template <typename Config>
struct TileWalk {
  const Params& params;
  TileStorage<Config>& storage;
  int buffer;
  int warp;  // of the buffer's
  int lane;

  __device__ __forceinline__ TileCursor& cursor() const { return storage.cursor[buffer][warp]; }

  // The lane's token of the share: lanes 16 to 31 look at the same tokens as lanes 0 to 15.
  __device__ __forceinline__ int of_share() const { return lane % kShareTokens; }
  __device__ __forceinline__ int32_t token() const {
    return cursor().token + warp * kShareTokens + of_share();
  }

  // To the buffer's first tile; the lane's id there.
  __device__ __forceinline__ int32_t start() const {
    if (lane == 0) {
      cursor().k = -1;
      begin_piece(cursor());
    }
    __syncwarp();
    return id_here();
  }

  // The warp's share of the tile at the cursor, filling `turn` of the buffer, given the lane's id
  // there. Asks for its scales, goes on to the buffer's next tile and reads the id there.
  __device__ __forceinline__ TileShare find(gpu::Turn turn, int32_t& id) const {
    const TileCursor& at = cursor();
    TileShare share = {.stream = at.stream, .valid = 0, .row = kNoRow};
    if (share.stream == kNoStream) return share;
    const StreamParams& stream = params.streams[share.stream];
    const Slot slot = slot_of(stream, token(), id);
    const bool exists = token() < at.length && slot.exists;
    share.valid = __ballot_sync(~0u, exists);
    if (exists) share.row = row_number(params.rows[share.stream], slot);
    if constexpr (Config::kConverts) {
      ask_for_scales(record_at(stream, slot), exists, params.boxes[share.stream],
                     storage.scales[buffer][turn.slot()][warp * kShareTokens + of_share()]);
    }
    __syncwarp();  // everybody has read the cursor
    if (lane == 0) advance(cursor());
    __syncwarp();
    id = id_here();
    return share;
  }

 private:
  __device__ __forceinline__ int32_t id_here() const {
    const TileCursor& at = cursor();
    if (at.stream == kNoStream || token() >= at.length) return 0;
    return at.ids[id_index(params.streams[at.stream], token())];
  }

  __device__ __forceinline__ uint32_t row_number(const RowNumbers& numbers,
                                                 const Slot& slot) const {
    return static_cast<uint32_t>(slot.page) * numbers.page +
           static_cast<uint32_t>(slot.of_page) * numbers.row +
           static_cast<uint32_t>(block_kv_head()) * numbers.head;
  }

  // A half of the words by each of the token's two lanes. Zeros of a token that does not exist.
  __device__ __forceinline__ void ask_for_scales(const Record& record, bool exists,
                                                 const RecordBoxes& boxes,
                                                 const uint32_t (&to)[kScaleWords]) const {
    const std::byte* begin = boxes.scales_in_tail ? record.tail : record.row;
    const std::byte* from =
        exists ? begin + boxes.scale_offset : reinterpret_cast<const std::byte*>(params.q);
    constexpr int kOfLane = kScaleWords * kShareTokens / 32;
#pragma unroll
    for (int i = 0; i < kOfLane; ++i) {
      const int word = lane / kShareTokens * kOfLane + i;
      if (word < boxes.scale_words) {
        ptx::copy_async_4(ptx::shared_address(&to[word]), from + word * sizeof(uint32_t), exists);
      }
    }
  }

  // ---- the cursor, by lane 0

  // The buffer's next tile: the piece's next but one, or of the next piece the first that goes to
  // this buffer.
  __device__ __forceinline__ void advance(TileCursor& at) const {
    at.tile += kBuffers;
    at.token += kBuffers * kTileTokens;
    if (at.tile >= at.tile_end) {
      begin_piece(at);
    } else if (at.tile >= at.run_end) {
      begin_run(at);
    }
  }

  // The next piece that has a tile for the buffer: even ones go to buffer 0, odd ones to buffer 1.
  __device__ __forceinline__ void begin_piece(TileCursor& at) const {
    at.stream = kNoStream;
    do {
      if (++at.k >= storage.work.num_pieces) return;
      const PieceWork piece = read_piece<Config>(params, storage.work, at.k);
      at.tile = piece.tile_begin + buffer;
      at.tile_end = piece.tile_end;
    } while (at.tile >= at.tile_end);
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
