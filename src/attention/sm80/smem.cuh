// The plan of shared memory: a ring of tiles, records on their way to them, and the rest.
#pragma once

#include "attention/device/work.cuh"
#include "attention/sm80/config.hpp"
#include "gpu/ptx/shared_memory.cuh"

namespace seesaw::attention::sm80 {

// A tile to be copied: what the block's threads need to find its rows. Kept here, not in registers,
// which are full of queries and results.
struct TileTicket {
  const int32_t* ids;  // of the item
  int32_t token;       // of the stream: the tile's first
  int32_t length;      // of the stream
  int32_t stream;      // kNoStream: behind the last tile
};
inline constexpr int32_t kNoStream = -1;

// Where the writer of the tickets is.
struct TileCursor {
  Item item;
  int32_t k;  // of the block's pieces
  int32_t tile;
  int32_t tile_end;
  int32_t run_end;  // of the tiles that have the ticket's stream and item
};

// Written and read between the block's barriers ([b1] .. in README.md).
template <typename Config>
struct SharedRest {
  static constexpr int kRows = Config::kTileRows;
  static constexpr int kSubBlocks = Config::kValueColumns / gpu::kPartialLeastColumns;
  // P of one tile, 16 bits: rows of 64 bytes, chunks swizzled by half the row. Written behind [b2],
  // read behind [b1].
  alignas(128) uint8_t probabilities[kRows][kTileTokens * 2];
  // The queries' columns behind the values': registers have room for the others alone. Rows of 128
  // bytes, chunks swizzled by the row. Written and read like P, once a piece.
  union {
    alignas(128) uint8_t rotary[kRows][2 * kRotaryColumns];
    float largest[kRows][kSubBlocks];  // results of 64 columns, at the end of a piece
  };
  union {
    // The largest score of each warp's tokens. Written before [b2], read behind it.
    float top[kColumnWarps][kRows];
    float sum[kColumnWarps][kRows];  // of each warp's tokens, at the end of a piece
  };
  float row_top[kRows];  // largest score of the piece, in log2 units, where somebody asks for it
  uint8_t valid[kValidTiles][kTileTokens];  // of tiles of slots: 1 where the token exists
  BlockWork work;
  TileTicket ticket[kValidTiles];  // of tile number % kValidTiles
  TileCursor cursor;               // thread 0's
  PieceWork piece[2];              // that the block is at, by its turn
  // Number + 1 of the last piece that met infinities where only some rows may see them, and of the
  // last that has rows to compute anew.
  uint32_t not_finite;
  uint32_t anew;
};

template <typename Config>
struct Shared {
  SharedRest<Config>& rest;
  uint32_t tiles;
  uint32_t raw;
  uint32_t probabilities;
  uint32_t rotary;

  __device__ __forceinline__ Shared(uint8_t* base, const SharedLayout& layout)
      : rest(*reinterpret_cast<SharedRest<Config>*>(base + layout.rest_offset)),
        tiles(ptx::shared_address(base)),
        raw(ptx::shared_address(base) + static_cast<uint32_t>(layout.raw_offset)),
        probabilities(ptx::shared_address(&rest.probabilities)),
        rotary(ptx::shared_address(&rest.rotary)) {}

  __device__ __forceinline__ uint32_t tile(int32_t stage) const {
    return tiles + static_cast<uint32_t>(stage * Config::kTileBytes);
  }
  __device__ __forceinline__ uint32_t raw_tile(int32_t stage, int32_t pitch) const {
    return raw + static_cast<uint32_t>(stage * kTileTokens * pitch);
  }
};

// Byte of chunk `chunk` of token `token` in a tile: eight neighbouring tokens have the same chunk
// in eight different groups of banks.
template <typename Config>
__device__ __forceinline__ uint32_t chunk_offset(int token, int chunk) {
  return static_cast<uint32_t>(token * Config::kRowBytes +
                               ((chunk & ~7) | ((chunk ^ token) & 7)) * kChunkBytes);
}

// Byte of chunk `chunk` (of 8) of row `row` of the rotary columns of the queries.
__device__ __forceinline__ uint32_t rotary_offset(int row, int chunk) {
  return static_cast<uint32_t>(row * (2 * kRotaryColumns) + ((chunk ^ row) & 7) * kChunkBytes);
}

// Byte of chunk `chunk` (of 4) of row `row` of P.
__device__ __forceinline__ uint32_t probability_offset(int row, int chunk) {
  return static_cast<uint32_t>(row * (kTileTokens * 2) +
                               ((chunk ^ ((row >> 1) & 3)) * kChunkBytes));
}

}  // namespace seesaw::attention::sm80
