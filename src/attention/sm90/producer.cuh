// The producer warps: bring the rows of KV tiles, which may lie anywhere, into the boxes that wgmma
// reads. A warpgroup fills one buffer; each of its warps brings 16 tokens of every tile.
//
// A tile's way: its rows have been found (tile_walk.cuh); a half of its columns is asked for by
// cp.async when that half of the buffer is free, lands, is converted where it lies, and announced,
// two boxes at a time. Nothing that is under way is kept in registers. While the tile is used, the
// next one's rows are found.
#pragma once

#include "attention/sm90/tile_walk.cuh"
#include "gpu/marks.cuh"
#include "gpu/ptx/convert.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
struct Producer {
  using Element = typename Config::Element;

  const Params& params;
  const SharedAddresses<Config>& shared;
  TileStorage<Config>& storage;
  int buffer;
  int warp;  // of the buffer's
  int lane;

  __device__ __forceinline__ void run() const {
    const TileWalk<Config> walk = {params, storage, buffer, warp, lane};
    gpu::Turn turn;  // fillings of the buffer
    int32_t id = walk.start();
    TileShare share = walk.find(turn, id);
    while (share.stream != kNoStream) {
      const int32_t stream = share.stream;
      bring_half(share, turn, first_half());
      begin_half(share, turn, last_half());
      if constexpr (Config::kConverts) {
        bring_boxes<kHalfBoxes>(share, last_half() * kHalfBoxes);
        bring_rotary(share, turn);
        ptx::copy_async_wait<1>();  // but for the last half
        finish_half(stream, turn, first_half());
      } else {
        // The first half is announced before the rest is asked for, which takes as long as to land.
        bring_boxes<kCopyBoxes>(share, last_half() * kHalfBoxes);
        ptx::copy_async_commit();
        ptx::copy_async_wait<1>();
        finish_half(stream, turn, first_half());
        bring_boxes<kCopyBoxes>(share, last_half() * kHalfBoxes + kCopyBoxes);
        bring_rotary(share, turn);
      }
      ptx::copy_async_wait_all();
      finish_half(stream, turn, last_half());
      share = walk.find(gpu::Turn(turn.number() + 1), id);
      mark(turn, gpu::TileMark::kFound);
      turn.advance();
    }
  }

  static __device__ __forceinline__ void mark(gpu::Turn turn, gpu::TileMark what) {
    gpu::mark_tile<Config>(turn.number(), what);
  }

  // The halves in the order in which they are released and scored. The rotary box goes with the
  // last.
  __device__ __forceinline__ int first_half() const { return buffer; }
  __device__ __forceinline__ int last_half() const { return rotary_half(buffer); }

  __device__ __forceinline__ uint32_t box_address(int box) const {
    return shared.kv(buffer) + static_cast<uint32_t>(box * sizeof(Box));
  }
  // Address of the warp's first token in a box.
  __device__ __forceinline__ uint32_t share_of(int box) const {
    return box_address(box) + static_cast<uint32_t>(warp * kShareTokens * kBoxColumns * 2);
  }

  // ---- copies

  // Until there is room for a half of the warp's tokens.
  __device__ __forceinline__ void begin_half(const TileShare& share, gpu::Turn turn,
                                             int half) const {
    shared.kv_empty(buffer, half).wait_warp(turn);
    mark(turn, half == first_half() ? gpu::TileMark::kRoom : gpu::TileMark::kLastRoom);
    if (half == first_half() && lane == 0) {
      storage.valid[buffer][warp] = static_cast<uint16_t>(share.valid);
    }
  }

  // Asks for a half of them. One group.
  __device__ __forceinline__ void bring_half(const TileShare& share, gpu::Turn turn,
                                             int half) const {
    begin_half(share, turn, half);
    bring_boxes<kHalfBoxes>(share, half * kHalfBoxes);
    ptx::copy_async_commit();
    mark(turn, gpu::TileMark::kAsked);
  }

  // Boxes of values, as the cache has them.
  template <int kBoxes>
  __device__ __forceinline__ void bring_boxes(const TileShare& share, int box) const {
    if constexpr (Config::kConverts) {
      const RecordBoxes& boxes = params.boxes[share.stream];
      copy<true, kBoxes>(share, box, box * kBoxColumns, boxes.narrow);
      if (boxes.narrow < box + kBoxes && boxes.narrow < kValueBoxes) {
        copy<false, 1>(share, boxes.narrow, boxes.wide_offset, kMostBoxes);
      }
    } else {
      copy<false, kBoxes>(share, box, box * kBoxColumns * 2, kMostBoxes);
    }
  }

  // Ends the last half's group.
  __device__ __forceinline__ void bring_rotary(const TileShare& share, gpu::Turn turn) const {
    if constexpr (Config::kHasRotaryBox) copy_rotary(share);
    ptx::copy_async_commit();
    mark(turn, gpu::TileMark::kLastAsked);
  }

  __device__ __forceinline__ void copy_rotary(const TileShare& share) const {
    if constexpr (Config::kConverts) {
      const RecordBoxes& boxes = params.boxes[share.stream];
      if (boxes.narrow > kValueBoxes) {
        copy<true, 1>(share, kValueBoxes, kValueColumns, kMostBoxes);
      } else {
        copy<false, 1>(share, kValueBoxes, boxes.wide_offset, kMostBoxes);
      }
    } else {
      copy<false, 1>(share, kValueBoxes, kValueColumns * 2, kMostBoxes);
    }
  }

  static constexpr int kMostBoxes = kValueBoxes + 1;

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

  // kBoxes boxes of every token of the share, from `first_box` on, that lie side by side in its
  // record, from byte `from` on: neighbouring lanes copy neighbouring chunks. Only the boxes before
  // `end_box`. Zeros of a token that does not exist.
  template <bool kNarrow, int kBoxes>
  __device__ __forceinline__ void copy(const TileShare& share, int first_box, int32_t from,
                                       int end_box) const {
    constexpr int kOfBox = kNarrow ? kNarrowChunks : kBoxChunks;
    constexpr int kChunks = kBoxes * kOfBox;
    constexpr int kOfOne = 32 / kChunks;  // tokens of an instruction
    const int here = ptx::opaque(lane);   // or what follows from it is kept in registers for long
    const int chunk = here % kChunks;
    const int box = first_box + chunk / kOfBox;
    const uint32_t to = share_of(box);
    const std::byte* begin = params.streams[share.stream].cache + from + chunk * kChunkBytes;
    const uint32_t unit_bytes = params.rows[share.stream].unit_bytes;
#pragma unroll
    for (int i = 0; i < kShareTokens / kOfOne; ++i) {
      const int token = i * kOfOne + here / kChunks;
      const uint32_t row = __shfl_sync(~0u, share.row, token);
      const bool exists = row != kNoRow;
      const uint32_t place =
          kNarrow ? narrow_place(token, chunk % kOfBox) : wide_place(token, chunk % kOfBox);
      ptx::copy_async_16_if(box < end_box, to + place,
                            begin + (exists ? uint64_t{row} * unit_bytes : 0), exists);
    }
  }

  // ---- what has landed

  // Converts and announces a half, two boxes at a time.
  __device__ __forceinline__ void finish_half(int32_t stream, gpu::Turn turn, int half) const {
    __syncwarp();  // what the other lanes have copied is there
    mark(turn, half == first_half() ? gpu::TileMark::kLanded : gpu::TileMark::kLastLanded);
    const Conversion conversion = conversion_of(stream, turn);
#pragma unroll 1
    for (int copy = half * kHalfCopies; copy < (half + 1) * kHalfCopies; ++copy) {
      if constexpr (Config::kConverts) {
        convert_copy(conversion, copy * kCopyBoxes);
        const bool last = half == last_half() && copy % kHalfCopies == kHalfCopies - 1;
        if (Config::kHasRotaryBox && last && conversion.narrow > kValueBoxes) {
          convert<1>(conversion, kValueBoxes);
        }
      }
      ptx::fence_async_proxy();
      __syncwarp();
      if (lane == 0) shared.kv_full(buffer, copy).arrive();
    }
    mark(turn, half == first_half() ? gpu::TileMark::kAnnounced : gpu::TileMark::kLastAnnounced);
  }

  // ---- conversion

  // What it asks of the stream and the filling, read once a half.
  struct Conversion {
    int narrow;
    ScaleKind kind;
    int group_shift;
    float whole;
    uint32_t scales;  // address of the warp's first token's
  };
  __device__ __forceinline__ Conversion conversion_of(int32_t stream, gpu::Turn turn) const {
    if constexpr (!Config::kConverts) return {};
    const RecordBoxes& boxes = params.boxes[stream];
    return {boxes.narrow, boxes.scales, boxes.group_shift, stream_scale(params.streams[stream]),
            ptx::shared_address(storage.scales[buffer][turn.slot()][warp * kShareTokens])};
  }

  __device__ __forceinline__ void convert_copy(const Conversion& conversion, int box) const {
    if (box + kCopyBoxes <= conversion.narrow) {
      convert<kCopyBoxes>(conversion, box);
    } else if (box < conversion.narrow) {
      convert<1>(conversion, box);
    }
  }

  // kBoxes boxes from `first_box` on, which begin a word of scales: a lane's 16 numbers of a token
  // at a time, of eight tokens a warp.
  template <int kBoxes>
  __device__ __forceinline__ void convert(const Conversion& conversion, int first_box) const {
    constexpr int kOfOne = 32 / kNarrowChunks;
    constexpr int kSteps = kShareTokens / kOfOne;
    static_assert(kOfOne % 8 == 0);  // a lane's tokens are swizzled alike
    const int here = ptx::opaque(lane);
    const int chunk = here % kNarrowChunks;
    const int token = here / kNarrowChunks;
    const uint32_t from = share_of(first_box) + narrow_place(token, chunk);
    const uint32_t to = share_of(first_box) + wide_place(token, 2 * chunk);
    constexpr auto kStepBytes = static_cast<uint32_t>(kOfOne * kBoxColumns * 2);
    constexpr auto kBoxBytes = static_cast<uint32_t>(sizeof(Box));
    const int column = first_box * kBoxColumns;
    const int word = column >> (conversion.group_shift + (bytes(conversion) ? 2 : 0));
    uint4 raw[kBoxes][kSteps];
    uint32_t words[kSteps];
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      words[i] =
          ptx::load_shared_4(conversion.scales + ((token + i * kOfOne) * kScaleWords + word) * 4);
#pragma unroll
      for (int box = 0; box < kBoxes; ++box) {
        raw[box][i] = ptx::load_shared_16(from + box * kBoxBytes + i * kStepBytes);
      }
    }
    float scale[kBoxes][kSteps];
#pragma unroll
    for (int box = 0; box < kBoxes; ++box) {
      const int group =
          (column + box * kBoxColumns + chunk * kChunkBytes) >> conversion.group_shift;
#pragma unroll
      for (int i = 0; i < kSteps; ++i) scale[box][i] = scale_of(conversion, words[i], group);
    }
    __syncwarp();  // a token's four lanes have read it
#pragma unroll
    for (int box = 0; box < kBoxes; ++box) {
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        store_converted(to + box * kBoxBytes + i * kStepBytes, raw[box][i], scale[box][i]);
      }
    }
  }

  static __device__ __forceinline__ bool bytes(const Conversion& conversion) {
    return conversion.kind == ScaleKind::kE8M0;
  }
  // A group's scale, given the word that has it.
  static __device__ __forceinline__ float scale_of(const Conversion& conversion, uint32_t word,
                                                   int group) {
    float scale = conversion.kind == ScaleKind::kNone ? 1.0F : __uint_as_float(word);
    if (bytes(conversion)) scale = from_e8m0(static_cast<uint8_t>(word >> (group % 4 * 8)));
    return scale * conversion.whole;
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
