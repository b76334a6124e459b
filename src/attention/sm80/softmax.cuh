// [5] [6] From scores to probabilities: masks, the soft cap, and an online softmax whose rows are
// spread over the warps of the columns, which meet in shared memory.
//
// Probabilities are 2^(score * scale_log2 - frame); the frame is a running maximum that lags by up
// to gpu::kFrameSlack, so that the output is rescaled seldom.
#pragma once

#include "attention/device/sight.cuh"
#include "attention/sm80/products.cuh"
#include "gpu/partials.hpp"
#include "gpu/softmax_frame.cuh"

namespace seesaw::attention::sm80 {

// What a thread keeps of its two rows from tile to tile.
struct RowState {
  float frame[2];  // the same in all threads of the row
  float sum[2];    // of this thread's tokens

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      frame[r] = gpu::kEmptyFrame;
      sum[r] = 0.0F;
    }
  }
};

template <typename Config>
struct Softmax {
  const Params& params;
  const Shared<Config>& shared;

  // What a score is multiplied by.
  __device__ __forceinline__ float factor() const {
    return params.cap_log2 > 0.0F ? 1.0F : params.scale_log2;
  }

  // [5] before [b2]: caps, masks, and tells the row's other warps the largest of this one's.
  __device__ __forceinline__ void mask_and_publish(const PieceWork& piece, const TileSight& sight,
                                                   uint32_t number, Scores& scores) const {
    const ThreadPlace<Config> at;
    if (params.cap_log2 > 0.0F) {
#pragma unroll
      for (float& score : scores.of) score = capped(params, score);
    }
    const bool slots = params.streams[sight.place.stream].indices;
    if (sight.tail || sight.partial || slots) mask(piece, sight, number, slots, scores);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = fmaxf(scores.of[2 * r], scores.of[2 * r + 1]);
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      if (at.quad_lane() == 0) shared.rest.top[at.column_warp()][at.row(r)] = top;
    }
  }

  // Scores of tokens that a row does not see become -inf, by selection: they may be NaN.
  __device__ __forceinline__ void mask(const PieceWork& piece, const TileSight& sight,
                                       uint32_t number, bool slots, Scores& scores) const {
    const ThreadPlace<Config> at;
    bool exists[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      exists[e] = sight.place.token + at.token(e) < sight.place.length;
      if (slots) exists[e] &= shared.rest.valid[number % kValidTiles][at.token(e)] != 0;
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int32_t query_token =
          params.group.divide(piece.row_tile * Config::kTileRows + at.row(r));
      const RowSight row = sight_of<Config>(params, piece.item, query_token);
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        bool seen = exists[e];
        if (sight.partial) {
          const int32_t token = sight.item_token + at.token(e);
          seen = seen && token >= row.begin && token < row.end &&
                 (query_token >= piece.item.num_queries ||
                  tree_allows(params, piece.item, query_token, token));
        }
        if (!seen) scores.of[2 * r + e] = -INFINITY;
      }
    }
  }

  // [6] behind [b2]: moves the frames if they have to, and the output with them; writes the
  // probabilities of this warp's tokens.
  __device__ __forceinline__ void weigh(const Scores& scores, RowState& rows,
                                        Output<Config>& output) const {
    const ThreadPlace<Config> at;
    constexpr int kNextRow = 8 * kTileTokens * 2;  // eight rows have their chunks in the same order
    const uint32_t stored = shared.probabilities + probability_offset(at.row(0), at.column_warp()) +
                            static_cast<uint32_t>(4 * at.quad_lane());
    float moved[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = shared.rest.top[0][at.row(r)];
#pragma unroll
      for (int w = 1; w < kColumnWarps; ++w) top = fmaxf(top, shared.rest.top[w][at.row(r)]);
      const float product = __fmul_rn(top, factor());
      if (params.max_logits != nullptr && at.writes_row()) {
        float& largest = shared.rest.row_top[at.row(r)];
        largest = fmaxf(largest, product);
      }
      const float frame = gpu::next_frame(rows.frame[r], product);
      moved[r] = ptx::exp2_approx(rows.frame[r] - frame);
      rows.frame[r] = frame;
      rows.sum[r] *= moved[r];
      const float p0 = ptx::exp2_approx(fmaf(scores.of[2 * r], factor(), -frame));
      const float p1 = ptx::exp2_approx(fmaf(scores.of[2 * r + 1], factor(), -frame));
      rows.sum[r] += p0 + p1;
      // Tokens 8w + 2q and the next: chunk w of the row.
      ptx::store_shared_4(stored + static_cast<uint32_t>(r * kNextRow),
                          ptx::pack<typename Config::Element>(p0, p1));
    }
    if (__any_sync(~0u, moved[0] != 1.0F || moved[1] != 1.0F)) output.scale(moved[0], moved[1]);
  }

  // Behind [b2], where not every row sees all of the tile: a probability of 0 does not make an
  // infinite or NaN value disappear, so such elements become 0, and the rows of the piece are
  // computed anew at its end.
  __device__ __forceinline__ void scrub(uint32_t tile, uint32_t piece_number) const {
    constexpr int kChunks = Config::kValueColumns / kChunkColumns;
    constexpr uint32_t kExponent = Config::kIsBFloat16 ? 0x7F80u : 0x7C00u;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < kTileTokens * kChunks; i += Config::kThreads) {
      const uint32_t address = tile + chunk_offset<Config>(i / kChunks, i % kChunks);
#pragma unroll 1
      for (uint32_t word = address; word < address + kChunkBytes; word += 4) {
        const uint32_t pair = ptx::load_shared_4(word);
        uint32_t kept = pair;
        if ((pair & kExponent) == kExponent) kept &= 0xFFFF0000u;
        if ((pair >> 16 & kExponent) == kExponent) kept &= 0xFFFFu;
        if (kept == pair) continue;
        ptx::store_shared_4(word, kept);
        shared.rest.not_finite = piece_number + 1;
      }
    }
  }
};

}  // namespace seesaw::attention::sm80
