// The producer warps: bring the rows of KV tiles, which may lie anywhere, into the boxes that wgmma
// reads. Each warp brings one box (64 columns) of every token, and of the rotary box the tokens
// that are its share.
//
// A tile's way: its rows are found (tile_walk.cuh) and asked for by cp.async when its boxes are
// free; when the next tile has been asked for, it has landed, is converted where it lies, and
// announced. Nothing that is under way is kept in registers.
#pragma once

#include "attention/sm90/tile_walk.cuh"
#include "gpu/ptx/convert.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
struct Producer {
  using Element = typename Config::Element;

  const Params& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  int warp;  // of the producers: the box that it brings
  int lane;

  // Tokens of a box: all of them, or the warp's share of the rotary box.
  struct Share {
    int32_t column;  // of the records, the first
    uint32_t box;    // address
    int first;       // token
    bool narrow;     // e4m3
  };
  static constexpr int kShareTokens = kTileTokens / kHalfWarps;  // of the rotary box
  static_assert(kShareTokens % 8 == 0);

  __device__ __forceinline__ const TileRows& rows_of(uint32_t n) const {
    return storage.rows[n % kRowSlots];
  }
  static __device__ __forceinline__ gpu::Turn turn_of(uint32_t n) {
    return gpu::Turn(n / kRowSlots);
  }

  __device__ __forceinline__ void run() const {
    const TileWalk<Config> walk = {params, shared, storage, warp, lane};
    walk.start();
    ptx::copy_async_wait_all();
    if (warp < kTilesAhead) walk.find(static_cast<uint32_t>(warp));
#pragma unroll 1
    for (uint32_t n = 0;; ++n) {  // of the worker's tiles
      shared.rows_full(n).wait_warp(turn_of(n));
      const TileRows& rows = rows_of(n);
      const bool exists = rows.stream != kNoStream;
      // The tile before is finished when this one has been asked for, or, where there is no room
      // yet, at once: nobody else waits for what has landed.
      const bool asked = exists && has_room(rows);
      if (asked) bring(rows);
      if (n > 0) finish(n - 1, asked);
      if (!exists) return;
      if (!asked) {
        room_for(rows).wait_warp(gpu::Turn(rows.filling));
        bring(rows);
      }
      if ((n + kTilesAhead) % kProducerWarps == static_cast<uint32_t>(warp)) {
        walk.find(n + kTilesAhead);
      }
      ptx::copy_async_commit();
    }
  }

  // ---- boxes

  // Of the warps whose boxes are released with the rotary box each brings a share of it.
  __device__ __forceinline__ bool brings_rotary(int buffer) const {
    return Config::kHasRotaryBox && warp / kHalfWarps == rotary_half(buffer);
  }
  __device__ __forceinline__ Share own_box(const TileRows& rows) const {
    return share_of(rows, warp, 0);
  }
  __device__ __forceinline__ Share rotary_share(const TileRows& rows) const {
    return share_of(rows, kValueBoxes, warp % kHalfWarps * kShareTokens);
  }
  __device__ __forceinline__ Share share_of(const TileRows& rows, int box, int first) const {
    Share share = {.column = box * kBoxColumns,
                   .box = shared.kv(rows.buffer) + static_cast<uint32_t>(box * sizeof(Box)),
                   .first = first,
                   .narrow = Config::kConverts && box < params.boxes[rows.stream].narrow};
    return share;
  }

  __device__ __forceinline__ gpu::EmptyBarrier room_for(const TileRows& rows) const {
    return shared.kv_empty(rows.buffer, warp / kHalfWarps);
  }
  __device__ __forceinline__ bool has_room(const TileRows& rows) const {
    return __all_sync(~0u, room_for(rows).is_open(gpu::Turn(rows.filling)));
  }

  // Asks for the warp's part of a tile.
  __device__ __forceinline__ void bring(const TileRows& rows) const {
    if (warp == 0 && lane < 2) storage.valid[rows.buffer][lane] = rows.valid[lane];
    bring_tokens<kTileTokens>(rows, own_box(rows));
    if (brings_rotary(rows.buffer)) bring_tokens<kShareTokens>(rows, rotary_share(rows));
    ptx::copy_async_commit();
  }

  template <int kTokens>
  __device__ __forceinline__ void bring_tokens(const TileRows& rows, const Share& share) const {
    if (share.narrow) {
      copy_rows<kTokens, kNarrowChunks>(rows, share, share.column);
    } else {
      copy_rows<kTokens, kBoxChunks>(
          rows, share,
          Config::kConverts ? params.boxes[rows.stream].wide_offset : share.column * 2);
    }
  }

  // Where a lane's e4m3 numbers, 16 of a token's 64, wait in the token's row of the box for their
  // conversion: in its first half, or if the token is odd in its second, so that two neighbours are
  // read from different banks.
  static __device__ __forceinline__ uint32_t narrow_place(int token, int chunk) {
    return static_cast<uint32_t>(token * (kBoxColumns * 2) +
                                 (((token & 1) * kNarrowChunks + chunk) << 4));
  }
  static __device__ __forceinline__ uint32_t wide_place(int token, int chunk) {
    return static_cast<uint32_t>(token * (kBoxColumns * 2) + ((chunk ^ (token & 7)) << 4));
  }

  // kChunks 16-byte chunks of each token, from byte `from` of its record on. Zeros of a token that
  // does not exist.
  template <int kTokens, int kChunks>
  __device__ __forceinline__ void copy_rows(const TileRows& rows, const Share& share,
                                            int32_t from) const {
    constexpr int kOfOne = 32 / kChunks;  // tokens of an instruction
    const int here = ptx::opaque(lane);   // or what follows from it is kept in registers for long
    const int chunk = here % kChunks;
    const int first = share.first + here / kChunks;
    const std::byte* begin = params.streams[rows.stream].cache + from + chunk * kChunkBytes;
    const uint32_t unit_bytes = params.rows[rows.stream].unit_bytes;
#pragma unroll
    for (int i = 0; i < kTokens / kOfOne; ++i) {
      const int token = first + i * kOfOne;
      const uint32_t row = rows.row[token];
      const bool exists = row != kNoRow;
      const uint32_t place =
          kChunks == kNarrowChunks ? narrow_place(token, chunk) : wide_place(token, chunk);
      ptx::copy_async_16(share.box + place, begin + (exists ? uint64_t{row} * unit_bytes : 0),
                         exists);
    }
  }

  // Converts and announces a tile when it has landed.
  // `next_asked`: since then the next tile has been asked for.
  __device__ __forceinline__ void finish(uint32_t n, bool next_asked) const {
    const TileRows& rows = rows_of(n);
    const int buffer = rows.buffer;
    if (next_asked) {
      ptx::copy_async_wait<1>();
    } else {
      ptx::copy_async_wait_all();
    }
    if constexpr (Config::kConverts) {
      shared.scales_full(n).wait_warp(turn_of(n));
      convert_share<kTileTokens>(rows, own_box(rows));
      if (brings_rotary(buffer)) convert_share<kShareTokens>(rows, rotary_share(rows));
    }
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane == 0) shared.kv_full(buffer, warp / kCopyBoxes).arrive();
  }

  // ---- conversion

  template <int kTokens>
  __device__ __forceinline__ void convert_share(const TileRows& rows, const Share& share) const {
    if (!share.narrow) return;
    const RecordBoxes& boxes = params.boxes[rows.stream];
    const float whole = stream_scale(params.streams[rows.stream]);
    const int group = (share.column + lane % kNarrowChunks * kChunkBytes) >> boxes.group_shift;
    switch (boxes.scales) {
      case ScaleKind::kNone:
        return convert<kTokens>(share, [&](int) { return whole; });
      case ScaleKind::kFloat:
        return convert<kTokens>(
            share, [&](int token) { return __uint_as_float(rows.scales[token][group]) * whole; });
      case ScaleKind::kE8M0:
        return convert<kTokens>(share, [&](int token) {
          const auto* bytes = reinterpret_cast<const uint8_t*>(rows.scales[token]);
          return from_e8m0(bytes[group]) * whole;
        });
    }
  }

  // A lane's 16 numbers of a token at a time, of eight tokens a warp.
  template <int kTokens, typename ScaleOf>
  __device__ __forceinline__ void convert(const Share& share, const ScaleOf& scale_of) const {
    constexpr int kOfOne = 32 / kNarrowChunks;
    constexpr int kAtOnce = kTokens < 4 * kOfOne ? kTokens / kOfOne : 4;  // loads
    const int here = ptx::opaque(lane);
    const int chunk = here % kNarrowChunks;
    const int first = share.first + here / kNarrowChunks;
#pragma unroll 1
    for (int begin = 0; begin < kTokens; begin += kAtOnce * kOfOne) {
      uint4 raw[kAtOnce];
      float scale[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int token = first + begin + i * kOfOne;
        raw[i] = ptx::load_shared_16(share.box + narrow_place(token, chunk));
        scale[i] = scale_of(token);
      }
      __syncwarp();  // the token's four lanes have read it
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const uint32_t place = wide_place(first + begin + i * kOfOne, 2 * chunk);
        store_converted(share.box + place, raw[i], scale[i]);
      }
    }
  }

  // Two neighbouring chunks, the first at `place`.
  __device__ __forceinline__ void store_converted(uint32_t place, const uint4& raw,
                                                  float scale) const {
    const uint32_t in[4] = {raw.x, raw.y, raw.z, raw.w};
    uint32_t out[8];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 v = ptx::unpack_e4m3(in[i]);
      out[2 * i] = ptx::pack<Element>(v.x * scale, v.y * scale);
      out[2 * i + 1] = ptx::pack<Element>(v.z * scale, v.w * scale);
    }
    ptx::store_shared_16(place, make_uint4(out[0], out[1], out[2], out[3]));
    ptx::store_shared_16(place ^ 16, make_uint4(out[4], out[5], out[6], out[7]));
  }
};

}  // namespace seesaw::attention::sm90
