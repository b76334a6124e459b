// [6], the end of a piece: the two warpgroups, each of which has attended every other tile, merge
// their results, a half of the columns each; a finished item is normalised and written out, a part
// of one goes to the workspace as it is.
#pragma once

#include "attention/device/record.cuh"
#include "attention/device/results.cuh"
#include "attention/device/row_anew.cuh"
#include "attention/sm90/swapped_products.cuh"
#include "gpu/sm90/output.cuh"

namespace seesaw::attention::sm90 {

// Of one consumer thread.
template <typename Config>
struct SwappedEpilogue {
  using Element = typename Config::Element;
  static constexpr int kRows = Config::kTileRows;
  using State = SwappedState<kRows>;
  using Storage = SwappedStorage<Config>;
  static constexpr int kOwnRows = State::kOwnRows;
  static constexpr int kExchangeParts = Config::kExchangeParts;

  const Params& params;
  Storage& storage;
  const PieceWork& piece;
  ConsumerThread thread;
  int own, other;  // warpgroups

  __device__ __forceinline__ SwappedEpilogue(const Params& params_of_launch, Storage& plan,
                                             const PieceWork& piece_of_block, ConsumerThread place,
                                             Side side)
      : params(params_of_launch),
        storage(plan),
        piece(piece_of_block),
        thread(place.apart()),
        own(ptx::opaque(static_cast<int>(side))),
        other(1 - own) {}

  // Of the thread's query rows, over all tokens of the piece.
  struct Totals {
    float frame[kOwnRows];
    float sum[kOwnRows];
    float top[kOwnRows];
  };

  __device__ __forceinline__ ResultPlaces<Config> places() const { return {params, piece}; }
  __device__ __forceinline__ int row(int i) const { return own_row(thread.lane, i); }
  // Of the one thread of four warps' eight lanes that tells what it knows of its rows.
  __device__ __forceinline__ bool speaks() const { return thread.warp == 0 && thread.lane < 4; }

  // ---- what the other warpgroup needs

  // Until it is there for both.
  __device__ __forceinline__ void publish(const State& state) const {
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      const float sum = sum_of_tokens(state.sum[i]);
      if (thread.lane < 4) storage.sum[own][thread.warp][row(i)] = sum;
      if (speaks()) storage.frame[own][row(i)] = state.frame[i];
    }
    hand_over<0>(state);
    wait_for_fact(kSumsReady);
  }

  __device__ __forceinline__ float4* exchanged(int warpgroup, int part, int n) const {
    return storage.exchange[warpgroup] + (part * State::kGroups + n) * kWarpgroupThreads +
           32 * thread.warp + thread.lane;
  }

  // Of the other warpgroup's half of the output kExchangeParts parts, from kFirstPart on.
  template <int kFirstPart>
  __device__ __forceinline__ void hand_over(const State& state) const {
#pragma unroll
    for (int part = 0; part < kExchangeParts; ++part) {
      const float(&o)[kRows / 2] = state.o[kHalfBoxes + kFirstPart + part];
#pragma unroll
      for (int n = 0; n < State::kGroups; ++n) {
        *exchanged(other, part, n) = float4{o[4 * n], o[4 * n + 1], o[4 * n + 2], o[4 * n + 3]};
      }
    }
  }

  // ---- the merge

  __device__ __forceinline__ Totals join(float (&own_factor)[kOwnRows],
                                         float (&other_factor)[kOwnRows]) const {
    Totals totals;
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      const int r = row(i);
      const float frame[2] = {storage.frame[0][r], storage.frame[1][r]};
      totals.frame[i] = fmaxf(frame[0], frame[1]);
      float factor[2];
      totals.sum[i] = 0.0F;
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        const float(&sum)[4][kRows] = storage.sum[side];
        factor[side] = ptx::exp2_approx(frame[side] - totals.frame[i]);
        totals.sum[i] += factor[side] * ((sum[0][r] + sum[1][r]) + (sum[2][r] + sum[3][r]));
      }
      own_factor[i] = own == 0 ? factor[0] : factor[1];
      other_factor[i] = own == 0 ? factor[1] : factor[0];
      totals.top[i] = fmaxf(storage.top[0][r], storage.top[1][r]);
    }
    return totals;
  }

  // The warpgroup's half of the output becomes that of both, in the common frame.
  __device__ __forceinline__ void merge(State& state, const float (&own_factor)[kOwnRows],
                                        const float (&other_factor)[kOwnRows]) const {
    merge_parts<0>(state, own_factor, other_factor);
    if constexpr (kExchangeParts < kHalfBoxes) {
      static_assert(2 * kExchangeParts == kHalfBoxes);
      wait_for_fact(kSumsReady);  // both have read the first parts
      hand_over<kExchangeParts>(state);
      wait_for_fact(kSumsReady);
      merge_parts<kExchangeParts>(state, own_factor, other_factor);
    }
  }

  template <int kFirstPart>
  __device__ __forceinline__ void merge_parts(State& state, const float (&own_factor)[kOwnRows],
                                              const float (&other_factor)[kOwnRows]) const {
#pragma unroll
    for (int part = 0; part < kExchangeParts; ++part) {
      float(&o)[kRows / 2] = state.o[kFirstPart + part];
#pragma unroll
      for (int n = 0; n < State::kGroups; ++n) {
        const float4 add = *exchanged(own, part, n);
        const float adds[4] = {add.x, add.y, add.z, add.w};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const int i = 2 * n + k % 2;
          o[4 * n + k] = o[4 * n + k] * own_factor[i] + adds[k] * other_factor[i];
        }
      }
    }
  }

  __device__ __forceinline__ void run(State& state, gpu::Turn turn) const {
    float own_factor[kOwnRows], other_factor[kOwnRows];
    Totals totals = join(own_factor, other_factor);
    merge(state, own_factor, other_factor);
    const uint32_t(&not_finite)[2] = storage.pieces.not_finite[turn.slot()];
    const bool all_anew = not_finite[0] == turn.number() + 1 || not_finite[1] == turn.number() + 1;
    const uint32_t anew = all_anew ? ~0u : rows_beyond_frames(totals);
    if (__builtin_expect(piece.stale, 0)) {
#pragma unroll
      for (float& sum : totals.sum) sum = NAN;
    }
    if (piece.partial < 0) {
      write_out(state, totals);
    } else {
      write_partial(state, totals);
    }
    if (__builtin_expect(anew != 0, 0) && !piece.stale) compute_rows_anew(anew);
  }

  // ---- results. A thread has 8 x 8 blocks of them, transposed: columns by query rows. Rounded,
  // they are turned: then it has a query row, 8n + lane / 4, of each of them, and two neighbouring
  // columns.

  __device__ __forceinline__ int turned_row(int n) const { return 8 * n + thread.lane / 4; }

  // The thread's columns of group n of the rows, times the rows' factors: of each part two blocks.
  template <typename T>
  __device__ __forceinline__ void turn(const State& state, int n, const float (&factor)[kOwnRows],
                                       uint32_t (&words)[kHalfBoxes][2]) const {
    __syncwarp();
#pragma unroll
    for (int part = 0; part < kHalfBoxes; ++part) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float* pair = state.o[part] + 4 * n + 2 * h;
        words[part][h] = ptx::transpose_matrix(
            ptx::pack<T>(pair[0] * factor[2 * n], pair[1] * factor[2 * n + 1]));
      }
    }
  }

  // out = O / sum, and the rows' statistics.
  __device__ __forceinline__ void write_out(const State& state, const Totals& totals) const {
    float inverse[kOwnRows];
    uint32_t empty = 0;  // rows with nothing to attend
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      const bool exists = places().exists(row(i));
      const float sum =
          exists ? places().sum_with_sink(row(i), totals.frame[i], totals.sum[i]) : 1.0F;
      inverse[i] = 1.0F / sum;
      if (totals.sum[i] == 0.0F) empty |= 1u << row(i);
      if (exists && own == 0 && speaks()) {
        places().write_statistics(row(i), totals.frame[i], totals.sum[i], totals.top[i]);
      }
    }
    empty = of_all_rows(empty);
#pragma unroll
    for (int n = 0; n < State::kGroups; ++n) {
      const int r = turned_row(n);
      const bool exists = places().exists(r);
      uint16_t* out =
          exists ? places().out_row(r) + own * kHalfColumns + 16 * thread.warp : nullptr;
      // A row with nothing to attend is 0, also where infinite values have met scores of -inf.
      const uint32_t kept = empty >> r & 1u ? 0u : ~0u;
      uint32_t words[kHalfBoxes][2];
      turn<Element>(state, n, inverse, words);
#pragma unroll
      for (int part = 0; part < kHalfBoxes; ++part) {
        const uint32_t columns[2] = {words[part][0] & kept, words[part][1] & kept};
        write_columns(columns, exists ? out + part * kBoxColumns : nullptr);
      }
    }
  }

  // 16 columns of a row, to `out` if it is not null: of two blocks the lane's two each.
  __device__ __forceinline__ void write_columns(const uint32_t (&words)[2], uint16_t* out) const {
    const int quad_lane = thread.lane % 4;
    if (params.out_aligned) {
      // An even lane takes its neighbour's columns of the first block, an odd one of the second.
      const bool odd = quad_lane % 2 != 0;
      const uint32_t got = __shfl_xor_sync(~0u, odd ? words[0] : words[1], 1);
      const uint2 four = odd ? uint2{got, words[1]} : uint2{words[0], got};
      if (out != nullptr) {
        *reinterpret_cast<uint2*>(out + (odd ? 8 : 0) + quad_lane / 2 * 4) = four;
      }
    } else if (out != nullptr) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        out[8 * h + 2 * quad_lane] = static_cast<uint16_t>(words[h]);
        out[8 * h + 2 * quad_lane + 1] = static_cast<uint16_t>(words[h] >> 16);
      }
    }
  }

  // A split's part, scaled to 16 bits and in the order of gpu/partials.hpp: of a unit the warp has
  // the pairs of two of four blocks.
  __device__ __forceinline__ void write_partial(const State& state, const Totals& totals) const {
    float largest[kOwnRows], scale[kOwnRows];
    largest_of_half(state, largest);
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      const gpu::PartialScale bits = gpu::partial_scale(__float_as_uint(largest[i]));
      scale[i] = __uint_as_float(bits.scale_bits);
      if (!speaks() || !places().in_slot(row(i))) continue;
      params.partial_stat[places().slot_row(row(i)) * kHalves + own] = {
          .frame = totals.frame[i],
          .sum = totals.sum[i],
          .unscale = __uint_as_float(bits.unscale_bits),
          .top = totals.top[i]};
    }
    const int unit = own * kHalfUnits + thread.warp / 2 * 4 + thread.lane % 4;
    constexpr int kPartUnits = kBoxColumns / gpu::kPartialUnitElements;
#pragma unroll
    for (int n = 0; n < State::kGroups; ++n) {
      const int r = turned_row(n);
      const bool in_slot = places().in_slot(r);
      uint4* out = params.partial_out +
                   (in_slot ? places().slot_row(r) * gpu::partial_units(kValueColumns) : 0) + unit;
      uint32_t words[kHalfBoxes][2];
      turn<__half>(state, n, scale, words);
#pragma unroll
      for (int part = 0; part < kHalfBoxes; ++part) {
        if (!in_slot) continue;
        reinterpret_cast<uint2*>(out + part * kPartUnits)[thread.warp % 2] =
            uint2{words[part][0], words[part][1]};
      }
    }
  }

  // Largest magnitudes of the thread's query rows, over the warpgroup's half of the columns.
  __device__ __forceinline__ void largest_of_half(const State& state,
                                                  float (&largest)[kOwnRows]) const {
    float(&maxima)[4][kRows] = storage.maxima[own];
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      float most = 0.0F;
#pragma unroll
      for (int part = 0; part < kHalfBoxes; ++part) {
        const float* o = state.o[part] + i / 2 * 4 + i % 2;
        most = fmaxf(most, fmaxf(fabsf(o[0]), fabsf(o[2])));
      }
      most = max_of_tokens(most);
      if (thread.lane < 4) maxima[thread.warp][row(i)] = most;
    }
    ptx::barrier_sync(maxima_ready(own), kWarpgroupThreads);
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      const int r = row(i);
      largest[i] = fmaxf(fmaxf(maxima[0][r], maxima[1][r]), fmaxf(maxima[2][r], maxima[3][r]));
    }
  }

  // ---- rows computed anew

  // Bits of a quad's rows, which are all: the same for every thread.
  static __device__ __forceinline__ uint32_t of_all_rows(uint32_t bits) {
    bits |= __shfl_xor_sync(~0u, bits, 1);
    return bits | __shfl_xor_sync(~0u, bits, 2);
  }

  __device__ __forceinline__ uint32_t rows_beyond_frames(const Totals& totals) const {
    uint32_t beyond = 0;
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      if (beyond_frames(totals.frame[i], totals.sum[i])) beyond |= 1u << row(i);
    }
    return of_all_rows(beyond);
  }

  // These of the tile's rows, whose results are written already: the warpgroup's half of their
  // columns, a row a warp.
  __device__ __forceinline__ void compute_rows_anew(uint32_t rows) const {
    ptx::barrier_sync(p_stored(own),
                      kWarpgroupThreads);  // other warps have written what is written over
#pragma unroll 1
    for (int r = thread.warp; r < kRows; r += 4) {
      if ((rows >> r & 1u) != 0) {
        RowAnew<Config, kHalfColumns>(params, piece, r, own * kHalfColumns).run();
      }
    }
  }
};

}  // namespace seesaw::attention::sm90
