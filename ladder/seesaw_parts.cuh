// The parts of rung 10: shared memory, what the warpgroups tell each other, copies by halves of a
// tile, and the softmax across two groups.
#pragma once

#include "ladder/copies.cuh"
#include "ladder/mma.cuh"
#include "ladder/warpgroup.cuh"

namespace seesaw::ladder {

inline constexpr int kSeesawThreads = 3 * kWarpgroupThreads;   // even tiles, odd tiles, copies
inline constexpr int kHalfTiles = kValueTiles / 2;             // column tiles of a half of V'
inline constexpr int kRightTiles = kColumnTiles - kHalfTiles;  // with the rotary columns

struct SeesawShared {
  SwizzledBlock q;           // tile 8, the rotary columns, is copied to registers at the start ...
  SwizzledBlock k[2];        // even and odd tiles
  SwizzledTile p0;           // written by group 0, read by group 1's WGMMA
  float maximum[kTileRows];  // of each row so far; groups read and write it in turns
  float scale0[kTileRows];
  float scale1[kTileRows];
  float sum[2][kTileRows];
  uint64_t q_full;
  uint64_t full[2][2];  // [buffer][half]: columns 0-255, columns 256-575
  uint64_t empty[2][2];

  // ... so that P1 may lie in its place: with a tile of its own it would not fit in 227 KB.
  __device__ unsigned char* p1() { return q.bytes + kValueTiles * kTileBytes; }
};
static_assert(sizeof(SeesawShared) <= 232448, "shared memory that a Hopper block may use");

// Named barriers, by the fact that becomes true. Each protects a reuse as well: group 1 may
// overwrite P1 once scale 0 is ready, because group 0 has by then finished reading the old P1, and
// group 0 P0 once scale 1 is ready.
enum Fact : int {
  kScale0Ready = 1,  // maximum and scale of the even tile; group 1 waits
  kScale1Ready = 2,  // of the odd tile; group 0 waits
  kP0Ready = 3,      // group 1 waits
  kP1Ready = 4,      // group 0 waits
  kBothGroups = 5,
  kWithinGroup = 6,  // and 7, for group 1
};
__device__ __forceinline__ void fact_is_true(Fact fact) {
  ptx::barrier_arrive(fact, 2 * kWarpgroupThreads);
}
__device__ __forceinline__ void wait_for_fact(Fact fact) {
  ptx::barrier_sync(fact, 2 * kWarpgroupThreads);
}

// One block's work. An odd number of tiles is made even by a copy of the last one, all of whose
// tokens are hidden: it changes nothing and needs no code of its own.
struct Sequence {
  const int32_t* pages;
  int tokens;
  int tiles;
  int pairs;
  int64_t first_row;  // of Q' and of the output
  int num_rows;       // of the 64 that exist
  Bf16* out;          // [all rows, 512]

  __device__ int loaded(int tile) const { return tile < tiles ? tile : tiles - 1; }
  // Tokens that the rows see in a tile; 64 or more: all.
  __device__ int visible(int tile) const { return tokens - tile * kPageTokens; }
  // Token slots that hold data in what was loaded for the tile.
  __device__ int valid(int tile) const { return tokens - loaded(tile) * kPageTokens; }
};

__device__ __forceinline__ Sequence sequence_of_block(const Problem& p) {
  const int64_t sequence = blockIdx.y;
  const int first_head = static_cast<int>(blockIdx.x) * kTileRows;
  Sequence w;
  w.pages = p.block_table + sequence * (p.max_tokens / kPageTokens);
  w.tokens = p.seq_lens[sequence];
  w.tiles = ceil_div(w.tokens, kPageTokens);
  w.pairs = ceil_div(w.tiles, 2);
  w.first_row = sequence * p.heads + first_head;
  w.num_rows = p.heads - first_head < kTileRows ? p.heads - first_head : kTileRows;
  w.out = p.out;
  return w;
}

// The pool twice, for boxes of the columns of a half: a copy costs its thread about 195 cycles
// (docs/notebook/0002), so a half is one copy.
struct SeesawMaps {
  CUtensorMap q;
  CUtensorMap pool[2];
};

// Barriers, then Q': one thread, before everybody else begins.
__device__ __forceinline__ void start(SeesawShared& s, const SeesawMaps& maps, const Sequence& w) {
  ptx::mbarrier_init(ptx::shared_address(&s.q_full), 1);
  for (int i = 0; i < 4; ++i) {
    ptx::mbarrier_init(ptx::shared_address(&s.full[i / 2][i % 2]), 1);
    ptx::mbarrier_init(ptx::shared_address(&s.empty[i / 2][i % 2]), kWarpgroupThreads / 32);
  }
  ptx::fence_mbarrier_init();
  request(s.q.bytes, s.q_full, maps.q, static_cast<int>(w.first_row));
}

// The thread that asks for copies: halves in the order in which the groups free and need them.
__device__ __forceinline__ void produce(SeesawShared& s, const SeesawMaps& maps,
                                        const Sequence& w) {
  for (int pair = 0; pair < w.pairs; ++pair) {
    const int row[2] = {w.pages[w.loaded(2 * pair)] * kPageTokens,
                        w.pages[w.loaded(2 * pair + 1)] * kPageTokens};
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // (buffer, half): (0, 0), (1, 1), (0, 1), (1, 0)
      const int buffer = i % 2;
      const int half = (i + 1) / 2 % 2;
      if (pair > 0) {
        ptx::mbarrier_wait(ptx::shared_address(&s.empty[buffer][half]),
                           static_cast<uint32_t>((pair - 1) % 2));
      }
      const uint32_t barrier = ptx::shared_address(&s.full[buffer][half]);
      ptx::mbarrier_arrive_expect(barrier, (half == 0 ? kHalfTiles : kRightTiles) * kTileBytes);
      ptx::copy_box<ptx::kEvictNormal>(
          ptx::shared_address(s.k[buffer].bytes + half * kHalfTiles * kTileBytes), &maps.pool[half],
          barrier, {0, row[buffer], half * kHalfTiles, 0, 0});
    }
  }
}

// A group waits for half of a tile that it is about to score, and clears what lies past the
// sequence's end: before the other group is told of the tile, so for both.
__device__ __forceinline__ void wait_for_half(SeesawShared& s, const Sequence& w, int tile,
                                              int half) {
  const int buffer = tile % 2;
  ptx::mbarrier_wait(ptx::shared_address(&s.full[buffer][half]),
                     static_cast<uint32_t>(tile / 2 % 2));
  if (w.valid(tile) < kPageTokens) {
    clear_rows(s.k[buffer].bytes + half * kHalfTiles * kTileBytes,
               half == 0 ? kHalfTiles : kRightTiles, w.valid(tile),
               static_cast<int>(threadIdx.x) % kWarpgroupThreads, kWarpgroupThreads);
    ptx::fence_async_proxy();
    ptx::barrier_sync(kWithinGroup + buffer, kWarpgroupThreads);
  }
}

// The last reader of a half gives it back; an arrival per warp.
__device__ __forceinline__ void release_half(SeesawShared& s, const GroupPlace& place, int buffer,
                                             int half) {
  if (place.lane == 0) {
    ptx::mbarrier_arrive(ptx::shared_address(&s.empty[buffer][half]));
  }
}

// Q' columns 512-575 as A operands; afterwards its tile belongs to P1.
__device__ __forceinline__ void load_rotary_q(SeesawShared& s, const GroupPlace& place,
                                              uint32_t (&q8)[16]) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    uint32_t a[4];
    load_matrices(a, s.q.bytes + swizzled_offset(place.first_row + place.lane % 16,
                                                 kValueColumns + step * 16 + place.lane / 16 * 8));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      q8[4 * step + i] = a[i];
    }
  }
  wait_for_fact(kBothGroups);
}

// One committed group: scores (+)= Q' K'^T over one half of the columns.
template <int kHalf, bool kFresh>
__device__ __forceinline__ void issue_half(float (&scores)[32], const uint32_t (&q8)[16],
                                           uint32_t q, uint32_t k) {
  ptx::wgmma_fence();
  issue_scores<kHalf * kHalfTiles, (kHalf + 1) * kHalfTiles, kFresh>(scores, q, k);
  if constexpr (kHalf == 1) {
#pragma unroll
    for (uint32_t step = 0; step < kSteps; ++step) {
      WgmmaScores::rs(scores, q8 + 4 * step, k + kValueTiles * kTileUnits + step * ptx::kStepKMajor,
                      true);
    }
  }
  ptx::wgmma_commit();
}

// One tile's turn at the running maximum: scores become probabilities in the new frame, the factor
// of each row is published in `scale`, and the sums take the tile in.
__device__ __forceinline__ void next_maximum(SeesawShared& s, const GroupPlace& place,
                                             float (&scores)[32], int visible, float scale_log2,
                                             float (&scale)[kTileRows], float (&factor)[2],
                                             float (&sum)[2]) {
  float maximum[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float old = s.maximum[place.row(r)];
    maximum[r] = fmaxf(old, scale_and_maximum(scores, r, place.lane, visible, scale_log2));
    factor[r] = ptx::exp2_approx(old - maximum[r]);
  }
  __syncwarp();  // the four lanes of a row have read the old maximum
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (place.lane % 4 == 0) {
      s.maximum[place.row(r)] = maximum[r];
      scale[place.row(r)] = factor[r];
    }
    sum[r] = sum[r] * factor[r] + exponentiate(scores, r, maximum[r]);
  }
}

// Most tiles move no maximum: then the output need not be touched.
__device__ __forceinline__ void scale_if_needed(float (&out)[128], const float (&factor)[2]) {
  if (__any_sync(~0U, factor[0] != 1.0F || factor[1] != 1.0F)) {
    scale_out(out, factor[0], factor[1]);
  }
}

// Both groups' sums make a row's; each group writes its half.
__device__ __forceinline__ void finish(SeesawShared& s, const Sequence& w, const GroupPlace& place,
                                       int group, const float (&sum)[2], float (&out)[128]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float all = sum_of_quad(sum[r]);
    if (place.lane % 4 == 0) {
      s.sum[group][place.row(r)] = all;
    }
  }
  wait_for_fact(kBothGroups);
  const float sums[2] = {s.sum[0][place.row(0)] + s.sum[1][place.row(0)],
                         s.sum[0][place.row(1)] + s.sum[1][place.row(1)]};
  write_out(out, place, sums, w.num_rows,
            w.out + w.first_row * kValueColumns + group * (kValueColumns / 2));
}

}  // namespace seesaw::ladder
