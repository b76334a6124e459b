// Rung 8: loads by TMA.
//
// WHY. In rung 6 all 256 threads compute addresses, load 16 bytes, store them to shared memory, and
// then wait: while data travels, nothing is multiplied. Hopper's Tensor Memory Accelerator copies a
// whole box, here a page of 64 tokens x 576 columns, for one instruction of one thread, and counts
// the bytes on an mbarrier in shared memory. So the next page is requested before the present one
// is used: with two buffers, its flight hides behind the products. TMA also stores the tile in the
// 128-byte swizzle (swizzle.hpp), so that ldmatrix meets no bank conflict and no padding is needed.
//
// The arithmetic is rung 6's (mma.sync), the cache rung 7's: pages, each token once.
//
// COST. mma.sync reads both operands through registers: a warp does 176 ldmatrix for the 272 mma of
// a tile. Measured: 28 % of what cuBLAS reaches.
#include "ladder/copies.cuh"
#include "ladder/warp_tiles.cuh"

namespace seesaw::ladder {
namespace {

struct Shared {
  SwizzledBlock q;
  SwizzledBlock k[2];  // TMA writes one while the warps read the other
  SwizzledTile p;
  RowExchange rows;
  uint64_t q_full;
  uint64_t k_full[2];
};

// [1] As in rung 6, from swizzled tiles.
__device__ __forceinline__ void compute_qk_scores(const Shared& s, const SwizzledBlock& k,
                                                  const WarpPlace& place,
                                                  float (&scores)[kScoreTiles][4]) {
#pragma unroll 4
  for (int c = 0; c < kQkColumns; c += kDepth) {
    uint32_t a[4];
    load_matrices(
        a, s.q.bytes + swizzled_offset(place.first_row + place.lane % 16, c + place.lane / 16 * 8));
#pragma unroll
    for (int n = 0; n < kScoreTiles; n += 2) {
      uint32_t b[4];
      const int token = place.half * 32 + n * 8 + place.lane / 16 * 8 + place.lane % 8;
      load_matrices(b, k.bytes + swizzled_offset(token, c + place.lane / 8 % 2 * 8));
      mma_16x8x16(scores[n], a, b[0], b[1]);
      mma_16x8x16(scores[n + 1], a, b[2], b[3]);
    }
  }
}

__device__ __forceinline__ void store_probabilities(Shared& s, const WarpPlace& place,
                                                    const float (&scores)[kScoreTiles][4]) {
#pragma unroll
  for (int n = 0; n < kScoreTiles; ++n) {
    const int token = place.half * 32 + n * 8 + place.pair();
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      *reinterpret_cast<uint32_t*>(s.p.bytes + swizzled_offset(place.row(upper), token)) =
          pack_bf16(scores[n][2 * upper], scores[n][2 * upper + 1]);
    }
  }
}

// [2] The values are the first 512 columns of the same tile.
__device__ __forceinline__ void add_weighted_v(const Shared& s, const SwizzledBlock& k,
                                               const WarpPlace& place, float (&out)[kOutTiles][4]) {
  for (int t = 0; t < kPageTokens; t += kDepth) {
    uint32_t a[4];
    load_matrices(
        a, s.p.bytes + swizzled_offset(place.first_row + place.lane % 16, t + place.lane / 16 * 8));
#pragma unroll
    for (int n = 0; n < kOutTiles; n += 2) {
      uint32_t b[4];
      const int column = place.half * 256 + n * 8 + place.lane / 16 * 8;
      load_matrices_transposed(b, k.bytes + swizzled_offset(t + place.lane % 16, column));
      mma_16x8x16(out[n], a, b[0], b[1]);
      mma_16x8x16(out[n + 1], a, b[2], b[3]);
    }
  }
}

__global__ void __launch_bounds__(kWarpThreads, 1)
    tma(const __grid_constant__ Maps maps, const Problem p) {
  Shared& s = *reinterpret_cast<Shared*>(dynamic_shared());
  const WarpPlace place = warp_place();
  const int64_t sequence = blockIdx.y;
  const int first_head = static_cast<int>(blockIdx.x) * kWarpRows;
  const int64_t first_row = sequence * p.heads + first_head;
  const int tokens = p.seq_lens[sequence];
  const int tiles = ceil_div(tokens, kPageTokens);
  const int32_t* pages = p.block_table + sequence * (p.max_tokens / kPageTokens);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(ptx::shared_address(&s.q_full), 1);
    ptx::mbarrier_init(ptx::shared_address(&s.k_full[0]), 1);
    ptx::mbarrier_init(ptx::shared_address(&s.k_full[1]), 1);
    ptx::fence_mbarrier_init();
    request(s.q.bytes, s.q_full, maps.q, static_cast<int>(first_row));
    request(s.k[0].bytes, s.k_full[0], maps.pool, pages[0] * kPageTokens);
  }
  __syncthreads();  // the barriers are initialised
  ptx::mbarrier_wait(ptx::shared_address(&s.q_full), 0);

  RowStats stats;
  float out[kOutTiles][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % 2;
    if (threadIdx.x == 0 && tile + 1 < tiles) {
      request(s.k[1 - stage].bytes, s.k_full[1 - stage], maps.pool, pages[tile + 1] * kPageTokens);
    }
    ptx::mbarrier_wait(ptx::shared_address(&s.k_full[stage]), static_cast<uint32_t>(tile / 2 % 2));
    const int count = tokens - tile * kPageTokens;
    if (count < kPageTokens) {
      clear_rows(s.k[stage].bytes, kColumnTiles, count, static_cast<int>(threadIdx.x),
                 kWarpThreads);
      __syncthreads();
    }
    float scores[kScoreTiles][4] = {};
    compute_qk_scores(s, s.k[stage], place, scores);  // [1]
    publish_maximum(place, count, p.scale * kLog2E, scores, s.rows);
    __syncthreads();
    online_softmax(place, s.rows, scores, stats, out);  // [2] [3]
    store_probabilities(s, place, scores);
    __syncthreads();
    add_weighted_v(s, s.k[stage], place, out);  // [2]
    __syncthreads();                            // this stage and the probabilities are free
  }
  const int num_rows = p.heads - first_head < kWarpRows ? p.heads - first_head : kWarpRows;
  normalize_and_store(place, stats, s.rows, out, num_rows,
                      p.out + first_row * kValueColumns);  // [4]
}

}  // namespace

Status prepare_rung_08(const Problem& problem, Launcher* launcher) {
  Maps maps;
  SEESAW_RETURN_IF_ERROR(
      make_tile_map(problem.q, int64_t{problem.batch} * problem.heads, kColumnTiles, &maps.q));
  SEESAW_RETURN_IF_ERROR(make_tile_map(problem.pool, int64_t{problem.num_pages} * kPageTokens,
                                       kColumnTiles, &maps.pool));
  const LaunchShape shape = {ceil_div(problem.heads, kWarpRows), problem.batch, kWarpThreads,
                             sizeof(Shared)};
  SEESAW_RETURN_IF_ERROR(allow_shared(tma, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(tma, shape, stream, maps, problem); };
  return {};
}

}  // namespace seesaw::ladder
