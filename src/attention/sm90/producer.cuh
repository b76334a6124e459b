// The producer warpgroup: brings the rows of KV tiles, which may lie anywhere, into the boxes that
// wgmma reads. Each warp brings two boxes (128 columns) of every token, and two of them in turn the
// rotary box.
//
// It works by halves of tiles, 32 tokens, one a lane. A half's way: its ids are loaded two halves
// ahead, its rows are found and its scales loaded one ahead, and of its e4m3 numbers a half's loads
// are under way in registers at any time.
#pragma once

#include "attention/sm90/tile_walk.cuh"
#include "gpu/ptx/convert.cuh"
#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/global_memory.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm90 {

// What is loaded of a token that does not exist: a load behind a condition would be waited for
// where it stands.
static __device__ const uint4 kZeros = {0, 0, 0, 0};

template <typename Config>
struct Producer {
  using Element = typename Config::Element;

  const Params& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  int warp;  // of the producers
  int lane;

  // A load is 8 tokens of one box: a lane has 16 columns of token lane / 4.
  static constexpr int kGroups = kHalfTokens / 8;
  static constexpr int kLoads = kGroups * kCopyBoxes;  // of a half

  __device__ __forceinline__ TileWalk<Config> walk() const { return {params, storage, warp, lane}; }

  // The scale of this lane's 16 columns of box j of the warp's two. Without branches.
  __device__ __forceinline__ float scale_of(ScaleWord kind, uint32_t word, int j) const {
    const int byte = kind == ScaleWord::kBytesOf64 ? j : 2 * j + lane % 4 / 2;
    const bool whole = kind == ScaleWord::kFloat || kind == ScaleWord::kNone;
    const float narrow = from_e8m0(static_cast<uint8_t>(word >> (8 * byte)));
    return whole ? __uint_as_float(word) : narrow;
  }

  // The warp's loads of a half, by this lane: of the tokens 8 g + lane / 4.
  struct Source {
    const std::byte* begin;  // of the cache, and the lane's place in a record
    uint32_t unit_bytes;     // of row numbers
    uint32_t row;            // of the lane's token of the half

    __device__ __forceinline__ uint4 load(int g, int j) const {
      const uint32_t at = __shfl_sync(~0u, row, 8 * g + static_cast<int>(threadIdx.x) % 32 / 4);
      const std::byte* from = begin + uint64_t{at} * unit_bytes + j * kBoxColumns;
      return ptx::load_now(at != kNoRow ? reinterpret_cast<const uint4*>(from) : &kZeros);
    }
  };
  __device__ __forceinline__ Source source_of(const HalfTile& half) const {
    return {params.streams[half.stream].cache + warp * kCopyBoxes * kBoxColumns +
                lane % 4 * kChunkBytes,
            params.rows[half.stream].unit_bytes, half.row};
  }

  // 16 numbers of a token that has the lane's place in eight: two chunks of its row of a box, which
  // begins at `row`.
  __device__ __forceinline__ void store_converted(uint32_t row, const uint4& raw,
                                                  float scale) const {
    const uint32_t in[4] = {raw.x, raw.y, raw.z, raw.w};
    uint32_t out[8];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 v = ptx::unpack_e4m3(in[i]);
      out[2 * i] = ptx::pack<Element>(v.x * scale, v.y * scale);
      out[2 * i + 1] = ptx::pack<Element>(v.z * scale, v.w * scale);
    }
    const uint32_t chunk = static_cast<uint32_t>((lane % 4 * 2) ^ (lane / 4)) << 4;
    ptx::store_shared_16(row + chunk, make_uint4(out[0], out[1], out[2], out[3]));
    ptx::store_shared_16(row + (chunk ^ 16), make_uint4(out[4], out[5], out[6], out[7]));
  }

  // Copies kCount 16-byte chunks of every token to its row of a box: byte `from` of the record on,
  // swizzled, or, of numbers that are converted in place, as they are, to the row's second half. Of
  // kBoxes neighbouring boxes.
  template <int kCount, int kBoxes = 1>
  __device__ __forceinline__ void copy_rows(const HalfTile& half, int32_t from,
                                            uint32_t box) const {
    constexpr int kRows = 32 / kCount;  // of an instruction
    const std::byte* cache = params.streams[half.stream].cache + from;
    const uint32_t unit_bytes = params.rows[half.stream].unit_bytes;
    const int chunk = lane % kCount;
#pragma unroll 4
    for (int i = 0; i < kHalfTokens / kRows; ++i) {
      const int token = i * kRows + lane / kCount;
      const uint32_t row = __shfl_sync(~0u, half.row, token);
      const bool valid = row != kNoRow;
      const int at = kCount == kBoxChunks ? chunk ^ (token & 7) : kCount + chunk;
      const uint32_t to = box + static_cast<uint32_t>(token * (kBoxColumns * 2) + (at << 4));
      const std::byte* record =
          cache + (valid ? uint64_t{row} * unit_bytes : 0) + chunk * kChunkBytes;
#pragma unroll
      for (int j = 0; j < kBoxes; ++j) {
        ptx::copy_async_16(to + static_cast<uint32_t>(j * sizeof(Box)),
                           record + j * kBoxColumns * 2, valid);
      }
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
    HalfTile first = walk().resolve(0, walk().find(0));
    int32_t id = walk().find(1);
    uint4 raw[kLoads];
    if constexpr (Config::kConverts) {
      const Source source = source_of(first);
#pragma unroll
      for (int i = 0; i < kLoads - kCopyBoxes; ++i) {
        raw[i] = source.load(i / kCopyBoxes, i % kCopyBoxes);
      }
    }
    Landing landing;
    gpu::Turn turn0, turn1;  // fillings of the two buffers
    bool last;
#pragma unroll 1
    do {
      // Where the next half is: found while registers are free between a conversion and the loads
      // that follow it.
      HalfTile second, next;
      const auto find_second = [&] {
        second = walk().resolve(1, id);
        walk().advance();
        last = walk().ended();
        if (!last) id = walk().find(0);
      };
      const auto find_next = [&] {
        if (last) return;
        next = walk().resolve(0, id);
        id = walk().find(1);
      };
      await_room(first, first.buffer == 0 ? turn0 : turn1, landing);
      note_valid(first);
      if constexpr (Config::kConverts) {
        uint32_t rotary_scales = 0;
        convert<0>(first, second, find_second, raw, rotary_scales);
        note_valid(second);
        convert<1>(second, next, find_next, raw, rotary_scales);
      } else {
        copy(first, landing);
        find_second();
        note_valid(second);
        copy(second, landing);
        find_next();
      }
      if (first.buffer == 0) {
        turn0.advance();
      } else {
        turn1.advance();
      }
      first = next;
    } while (!last);
    if constexpr (!Config::kConverts) land<0>(landing);
  }

  // Before the arrival of the warp's boxes says that it may be read.
  __device__ __forceinline__ void note_valid(const HalfTile& half) const {
    if (warp != 0) return;
    const uint32_t valid = __ballot_sync(~0u, half.row != kNoRow);
    if (lane == 0) storage.valid[half.buffer][half.half] = valid;
    __syncwarp();
  }

  // Of the two warps whose boxes are released with the rotary box each brings one half.
  __device__ __forceinline__ bool brings_rotary(int buffer) const {
    return Config::kHasRotaryBox && warp / 2 == rotary_half(buffer);
  }

  // ---- rows of the queries' type, copied

  // A tile that is being copied: the thread's last group of copies but for what has been issued
  // since.
  struct Landing {
    int buffer = -1;  // -1: none
  };

  // Copies by threads are ordinary writes: only behind a fence of their thread may they be
  // announced to products. So a tile is announced when the next one's copies have been issued, or
  // before the warp waits for room for these.
  template <int kPending>
  __device__ __forceinline__ void land(Landing& landing) const {
    if (landing.buffer < 0) return;
    ptx::copy_async_wait<kPending>();
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane == 0) {
      shared.kv_full(landing.buffer, warp).arrive();
      if (brings_rotary(landing.buffer)) {
        shared.kv_full(landing.buffer, Config::kRotaryCopy).arrive();
      }
    }
    landing.buffer = -1;
  }

  __device__ __forceinline__ void await_room(const HalfTile& half, gpu::Turn turn,
                                             Landing& landing) const {
    const gpu::EmptyBarrier empty = shared.kv_empty(half.buffer, warp / 2);
    if constexpr (!Config::kConverts) {
      if (!__all_sync(~0u, empty.is_open(turn))) land<0>(landing);
    }
    empty.wait_warp(turn);
  }

  __device__ __forceinline__ void copy(const HalfTile& half, Landing& landing) const {
    const int box = warp * kCopyBoxes;
    copy_rows<kBoxChunks, kCopyBoxes>(half, box * kBoxColumns * 2, rows_of_box(half, box));
    if (brings_rotary(half.buffer) && warp % 2 == half.half) {
      copy_rows<kBoxChunks>(half, kValueColumns * 2, rows_of_box(half, kValueBoxes));
    }
    if (half.half == 0) return;
    ptx::copy_async_commit();
    land<1>(landing);
    landing.buffer = half.buffer;
  }

  // ---- rows of e4m3

  // 16-bit numbers of the record's last box, or what becomes numbers in place, for the whole tile,
  // of whose halves these are.
  __device__ __forceinline__ void copy_last_box(const HalfTile& first, const HalfTile& second,
                                                const RecordBoxes& format) const {
    if (brings_rotary(first.buffer)) {
      HalfTile half = warp % 2 == 0 ? first : second;
      half.half = warp % 2;
      const uint32_t rows = rows_of_box(half, kValueBoxes);
      if (format.narrow == kValueBoxes) {
        copy_rows<kBoxChunks>(half, format.wide_offset, rows);
      } else {
        copy_rows<kBoxChunks / 2>(half, kValueColumns, rows);
      }
    }
    if (last_is_wide(format)) {
      copy_rows<kBoxChunks>(first, format.wide_offset, rows_of_box(first, kValueBoxes - 1));
      copy_rows<kBoxChunks>(second, format.wide_offset, rows_of_box(second, kValueBoxes - 1));
    }
  }

  // Whether the warp's second box is 16-bit numbers: without a rotary box these are the last of the
  // values.
  __device__ __forceinline__ bool last_is_wide(const RecordBoxes& format) const {
    return !Config::kHasRotaryBox && format.narrow < kValueBoxes && warp == kProducerWarps - 1;
  }

  // `raw` holds the warp's numbers of a half, but for its last group; then it holds those of the
  // next one, which find_next finds. `rotary_scales`: of the tokens whose rotary numbers the warp
  // may bring.
  template <int kHalf, typename FindNext>
  __device__ __forceinline__ void convert(const HalfTile& half, const HalfTile& next,
                                          const FindNext& find_next, uint4 (&raw)[kLoads],
                                          uint32_t& rotary_scales) const {
    const RecordBoxes& format = params.boxes[half.stream];
    const float whole_scale = stream_scale(params.streams[half.stream]);
    const uint32_t to =
        rows_of_box(half, warp * kCopyBoxes) + static_cast<uint32_t>(lane / 4 * (kBoxColumns * 2));
    const bool only_first = last_is_wide(format);
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const uint32_t word = __shfl_sync(~0u, half.scales, 8 * g + lane / 4);
#pragma unroll
      for (int j = 0; j < kCopyBoxes; ++j) {
        if (j == 1 && only_first) continue;
        store_converted(to + static_cast<uint32_t>(j * sizeof(Box) + g * 8 * kBoxColumns * 2),
                        raw[g * kCopyBoxes + j], scale_of(format.scales, word, j) * whole_scale);
      }
      if (g == 0) {
        find_next();
        // The first half's rows are found, and the second's, which come next.
        if constexpr (kHalf == 0) {
          copy_last_box(half, next, format);
          rotary_scales = warp % 2 == 0 ? half.scales : next.scales;
        }
      }
      // The half's last group of loads follows its first conversion, so that between halves, where
      // the next one is found, registers are free.
      const int loaded = (g + kGroups - 1) % kGroups;
      const Source source = source_of(g == 0 ? half : next);
#pragma unroll
      for (int j = 0; j < kCopyBoxes; ++j) raw[loaded * kCopyBoxes + j] = source.load(loaded, j);
      __syncwarp();  // or ptxas issues all loads at the end, where the first is needed next
    }
    if constexpr (kHalf == 0) return;
    const bool rotary = brings_rotary(half.buffer);
    if (rotary || only_first) ptx::copy_async_wait_all();
    if (rotary && format.narrow > kValueBoxes) {
      convert_last_box(half.buffer, format, rotary_scales, whole_scale);
    }
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane == 0) {
      shared.kv_full(half.buffer, warp).arrive();
      if (rotary) shared.kv_full(half.buffer, Config::kRotaryCopy).arrive();
    }
  }

  // The e4m3 numbers of the rotary box that this warp has brought, in place. They have the scale of
  // the whole cache, or of the token, which the record holds.
  __device__ __forceinline__ void convert_last_box(int buffer, const RecordBoxes& format,
                                                   uint32_t scales, float whole_scale) const {
    const uint32_t box = rows_of_box({.buffer = buffer, .half = warp % 2}, kValueBoxes);
    __syncwarp();
#pragma unroll 1
    for (int i = 0; i < kHalfTokens / 8; ++i) {
      const int token = 8 * i + lane / 4;
      const uint32_t row = box + static_cast<uint32_t>(token * (kBoxColumns * 2));
      const uint32_t word = __shfl_sync(~0u, scales, token);
      const uint4 raw = ptx::load_shared_16(row + static_cast<uint32_t>((4 + lane % 4) << 4));
      __syncwarp();
      store_converted(row, raw, scale_of(format.scales, word, 0) * whole_scale);
    }
  }
};

}  // namespace seesaw::attention::sm90
