// The producer warpgroup: brings the rows of KV tiles, which may lie anywhere, into the boxes that
// wgmma reads. Each warp brings two boxes (128 columns) of every token, and two of them in turn the
// rotary box.
//
// It works by halves of tiles, 32 tokens, one a lane. A half's way: its ids are loaded two halves
// ahead, its rows are found and its scales loaded one ahead, and of its e4m3 numbers a half's loads
// are under way in registers at any time.
#pragma once

#include "attention/device/record.cuh"
#include "attention/sm90/smem.cuh"
#include "gpu/ptx/convert.cuh"
#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/global_memory.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm90 {

inline constexpr int kHalfTokens = kTileTokens / 2;
static_assert(kHalfTokens == 32, "a token a lane");

// Walks the tiles of the worker's pieces. Where it is stands in shared memory (TileCursor), as the
// producers' registers are full of loads under way; a warp has one of its own, which its lane 0
// writes.
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
      cursor().half = 1;
    }
    __syncwarp();
    advance();
  }

  // Steps to the next half of a tile that exists, if there is one.
  __device__ __forceinline__ void advance() const {
    __syncwarp();  // everybody has read
    if (lane == 0) step(cursor());
    __syncwarp();
  }

  __device__ __forceinline__ void step(TileCursor& at) const {
    at.half ^= 1;
    at.token += kHalfTokens;
    if (at.half == 1) return;
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
};

inline constexpr uint32_t kNoRow = ~0u;

// A half of a tile on its way, and a lane's token of it.
struct HalfTile {
  int32_t stream = 0;
  int32_t buffer = 0;
  int32_t half = 0;
  uint32_t row = kNoRow;  // 16 bytes from the begin of the cache, or kNoRow
  uint32_t scales = 0;    // the warp's word of scales
};

template <typename Config>
struct Producer {
  using Element = typename Config::Element;

  const Params& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  int warp;  // of the producers
  int lane;

  // A load is 8 tokens of one box: a lane has 16 columns of token lane / 4.
  static constexpr int kLoads = kHalfTokens / 8 * kCopyBoxes;

  __device__ __forceinline__ TileWalk<Config> walk() const { return {params, storage, warp, lane}; }

  __device__ __forceinline__ int32_t find(const TileCursor& cursor) const {
    const int32_t token = cursor.token + lane;
    return token < cursor.length ? id_of(params.streams[cursor.stream], cursor.ids, token) : -1;
  }

  __device__ __forceinline__ HalfTile resolve(const TileCursor& cursor, int32_t id) const {
    const StreamParams& stream = params.streams[cursor.stream];
    HalfTile half = {.stream = cursor.stream, .buffer = cursor.buffer, .half = cursor.half};
    const int32_t token = cursor.token + lane;
    const Record record = record_of(stream, token, id);
    if (token >= cursor.length || record.row == nullptr) return half;
    half.row = static_cast<uint32_t>((record.row - stream.cache) >> 4);
    if constexpr (Config::kConverts) {
      half.scales = load_scales(params.boxes[cursor.stream], record);
    }
    return half;
  }

  __device__ __forceinline__ uint32_t load_scales(const RecordBoxes& boxes,
                                                  const Record& record) const {
    const std::byte* from = (boxes.scales_in_tail ? record.tail : record.row) + boxes.scale_offset +
                            warp * boxes.scale_step;
    switch (boxes.scales) {
      case ScaleWord::kNone:
        return 0;
      case ScaleWord::kBytesOf64:
        return *reinterpret_cast<const uint16_t*>(from);
      default:
        return *reinterpret_cast<const uint32_t*>(from);
    }
  }

  // The scale of this lane's 16 columns of box j of the warp's two.
  __device__ __forceinline__ float scale_of(ScaleWord kind, uint32_t word, int j) const {
    if (kind == ScaleWord::kFloat) return __uint_as_float(word);
    if (kind == ScaleWord::kNone) return 1.0F;
    const int byte = kind == ScaleWord::kBytesOf64 ? j : 2 * j + lane % 4 / 2;
    return from_e8m0(static_cast<uint8_t>(word >> (8 * byte)));
  }

  // Load i of a half.
  __device__ __forceinline__ uint4 load(const HalfTile& half, int i) const {
    const int box = warp * kCopyBoxes + i % kCopyBoxes;
    const uint32_t row = __shfl_sync(~0u, half.row, i / kCopyBoxes * 8 + lane / 4);
    if (row == kNoRow || box >= params.boxes[half.stream].narrow) return make_uint4(0, 0, 0, 0);
    const std::byte* from = params.streams[half.stream].cache + static_cast<uint64_t>(row) * 16 +
                            box * kBoxColumns + lane % 4 * kChunkBytes;
    return ptx::load_now(reinterpret_cast<const uint4*>(from));
  }

  // 16 numbers of token `row` of a box, from column 16 (lane % 4) on.
  __device__ __forceinline__ void store_converted(uint32_t box, int row, const uint4& raw,
                                                  float scale) const {
    const uint32_t in[4] = {raw.x, raw.y, raw.z, raw.w};
    uint32_t out[8];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 v = ptx::unpack_e4m3(in[i]);
      out[2 * i] = ptx::pack<Element>(v.x * scale, v.y * scale);
      out[2 * i + 1] = ptx::pack<Element>(v.z * scale, v.w * scale);
    }
    const uint32_t to = box + row * (kBoxColumns * 2);
    const int chunk = lane % 4 * 2;
    ptx::store_shared_16(to + ((chunk ^ (row & 7)) << 4),
                         make_uint4(out[0], out[1], out[2], out[3]));
    ptx::store_shared_16(to + (((chunk + 1) ^ (row & 7)) << 4),
                         make_uint4(out[4], out[5], out[6], out[7]));
  }

  // Copies kCount 16-byte chunks of every token to its row of a box: byte `from` of the record on,
  // swizzled, or, of numbers that are converted in place, as they are, to the row's second half.
  template <int kCount>
  __device__ __forceinline__ void copy_rows(const HalfTile& half, int32_t from,
                                            uint32_t box) const {
    constexpr int kRows = 32 / kCount;  // of an instruction
    const std::byte* cache = params.streams[half.stream].cache + from;
    const int chunk = lane % kCount;
#pragma unroll 2
    for (int i = 0; i < kHalfTokens / kRows; ++i) {
      const int token = i * kRows + lane / kCount;
      const uint32_t row = __shfl_sync(~0u, half.row, token);
      const bool valid = row != kNoRow;
      const int at = kCount == kBoxChunks ? chunk ^ (token & 7) : kCount + chunk;
      ptx::copy_async_16(
          box + static_cast<uint32_t>(token * (kBoxColumns * 2) + (at << 4)),
          cache + (valid ? static_cast<uint64_t>(row) * 16 : 0) + chunk * kChunkBytes, valid);
    }
  }

  // e4m3 numbers that copy_rows has brought, in place.
  __device__ __forceinline__ void convert_rows(const HalfTile& half, uint32_t box, ScaleWord kind,
                                               float whole_scale) const {
#pragma unroll 1
    for (int i = 0; i < kHalfTokens / 8; ++i) {
      const int token = 8 * i + lane / 4;
      const uint32_t word = __shfl_sync(~0u, half.scales, token);
      const uint4 raw = ptx::load_shared_16(
          box + static_cast<uint32_t>(token * (kBoxColumns * 2) + ((4 + lane % 4) << 4)));
      __syncwarp();
      store_converted(box, token, raw, scale_of(kind, word, 0) * whole_scale);
    }
  }

  // A box's rows of a half.
  __device__ __forceinline__ uint32_t rows_of_box(const HalfTile& half, int box) const {
    constexpr uint32_t kHalfBytes = kHalfTokens * kBoxColumns * 2;
    return shared.kv(half.buffer) + static_cast<uint32_t>(box) * sizeof(Box) +
           static_cast<uint32_t>(half.half) * kHalfBytes;
  }

  __device__ __forceinline__ void run() const {
    walk().start();
    if (walk().ended()) return;
    const TileCursor& cursor = walk().cursor();
    HalfTile next = resolve(cursor, find(cursor));
    uint4 raw[kLoads];
    if constexpr (Config::kConverts) {
#pragma unroll
      for (int i = 0; i < kLoads; ++i) raw[i] = load(next, i);
    }
    walk().advance();
    int32_t id = walk().ended() ? -1 : find(cursor);
    gpu::Turn turn0, turn1;  // fillings of the two buffers
    bool last;
    do {
      const HalfTile half = next;
      last = walk().ended();
      next.row = kNoRow;
      if (!last) {
        next = resolve(cursor, id);
        walk().advance();
        if (!walk().ended()) id = find(cursor);
      }
      if (half.half == 0) {
        shared.kv_empty(half.buffer, warp / 2).wait_warp(half.buffer == 0 ? turn0 : turn1);
      } else if (half.buffer == 0) {
        turn0.advance();
      } else {
        turn1.advance();
      }
      note_valid(half);
      if constexpr (Config::kConverts) {
        convert(half, next, raw);
      } else {
        copy(half);
      }
    } while (!last);
    // No copy is under way when the block ends.
    if constexpr (!Config::kConverts) ptx::copy_async_wait_all();
  }

  // Before the arrival of the warp's boxes says that it may be read.
  __device__ __forceinline__ void note_valid(const HalfTile& half) const {
    if (warp != 0) return;
    const uint32_t valid = __ballot_sync(~0u, half.row != kNoRow);
    if (lane == 0) storage.valid[half.buffer][half.half] = valid;
    __syncwarp();
  }

  // Of the two warps whose boxes are released with the rotary box each brings one half.
  __device__ __forceinline__ bool brings_rotary(const HalfTile& half) const {
    return Config::kHasRotaryBox && warp / 2 == rotary_half(half.buffer) && warp % 2 == half.half;
  }

  // Rows of the queries' type, copied.
  __device__ __forceinline__ void copy(const HalfTile& half) const {
#pragma unroll 1
    for (int j = 0; j < kCopyBoxes; ++j) {
      const int box = warp * kCopyBoxes + j;
      copy_rows<kBoxChunks>(half, box * kBoxColumns * 2, rows_of_box(half, box));
    }
    if (half.half == 1) ptx::copy_async_arrive(shared.kv_full(half.buffer, warp).address);
    if (brings_rotary(half)) {
      copy_rows<kBoxChunks>(half, kValueColumns * 2, rows_of_box(half, kValueBoxes));
      ptx::copy_async_arrive(shared.kv_full(half.buffer, Config::kRotaryCopy).address);
    }
  }

  // Rows of e4m3, of which `raw` holds the warp's numbers; then it holds those of the next half.
  __device__ __forceinline__ void convert(const HalfTile& half, const HalfTile& next,
                                          uint4 (&raw)[kLoads]) const {
    const RecordBoxes& format = params.boxes[half.stream];
    const float whole_scale = stream_scale(params.streams[half.stream]);
    const bool rotary = brings_rotary(half);
    const bool rotary_is_wide = format.narrow == kValueBoxes;
    const bool last_is_wide =
        !Config::kHasRotaryBox && format.narrow < kValueBoxes && warp == kProducerWarps - 1;
    if (rotary) {
      if (rotary_is_wide) {
        copy_rows<kBoxChunks>(half, format.wide_offset, rows_of_box(half, kValueBoxes));
      } else {
        copy_rows<kBoxChunks / 2>(half, kValueColumns, rows_of_box(half, kValueBoxes));
      }
    }
    if (last_is_wide) {
      copy_rows<kBoxChunks>(half, format.wide_offset, rows_of_box(half, kValueBoxes - 1));
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int j = i % kCopyBoxes;
      const int box = warp * kCopyBoxes + j;
      const int token = i / kCopyBoxes * 8 + lane / 4;
      const float scale =
          scale_of(format.scales, __shfl_sync(~0u, half.scales, token), j) * whole_scale;
      if (box < format.narrow) store_converted(rows_of_box(half, box), token, raw[i], scale);
      raw[i] = load(next, i);
    }
    if (rotary || last_is_wide) {
      ptx::copy_async_wait_all();
      __syncwarp();
      if (rotary && !rotary_is_wide) {
        convert_rows(half, rows_of_box(half, kValueBoxes), format.scales, whole_scale);
      }
    }
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane == 0) {
      if (half.half == 1) shared.kv_full(half.buffer, warp).arrive();
      if (rotary) shared.kv_full(half.buffer, Config::kRotaryCopy).arrive();
    }
  }
};

}  // namespace seesaw::attention::sm90
