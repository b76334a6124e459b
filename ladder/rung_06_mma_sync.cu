// Rung 6: tensor cores with mma.sync.
//
// WHY. An SM's CUDA cores do 128 multiply-adds a cycle, and every bfloat16 has to be converted
// first. Its tensor cores take bfloat16 as it is; one mma.sync multiplies 16x16 by 16x8, spread
// over the registers of a warp. So the block grows to 64 query rows (a token is now fetched once
// for 64 rows, not 16) and eight warps hold the output, 64 x 512 floats, in registers: 128 each.
// The price is that each value must sit in the register of the thread that the instruction expects:
// ldmatrix moves 8x8 blocks from shared memory into that order, and for V' transposes them on the
// way.
//
// Two things differ from the four steps of rung 5. Probabilities are rounded to bfloat16 for the
// second product (their sum is not). And the merge comes first: the output is moved to the new
// maximum before the tile's values are added, as mma adds to the registers it is given.
//
// COST. Each tile is loaded behind a barrier while the tensor cores wait.
#include "ladder/runtime.cuh"
#include "ladder/tiles.cuh"
#include "ladder/warp_tiles.cuh"

namespace seesaw::ladder {
namespace {

constexpr int kTokens = 64;

struct Shared {
  PaddedTile<kWarpRows, kQkColumns> q;
  PaddedTile<kTokens, kQkColumns> k;
  PaddedTile<kTokens, kValueColumns> v;
  PaddedTile<kWarpRows, kTokens> p;
  RowExchange rows;
};

// The 16 x 16 block of `tile` at (row, column) as operand A.
template <typename Tile>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const Tile& tile, int lane, int row,
                                       int column) {
  load_matrices(a, &tile.eight(row + lane % 16, column + lane / 16 * 8));
}

// [1] S = Q' K'^T: this warp's 16 rows x 32 tokens. B's columns are tokens, so K' as it lies in
// memory, a token a row, is what ldmatrix wants.
__device__ __forceinline__ void compute_qk_scores(const Shared& s, const WarpPlace& place,
                                                  float (&scores)[kScoreTiles][4]) {
#pragma unroll 4
  for (int c = 0; c < kQkColumns; c += kDepth) {
    uint32_t a[4];
    load_a(a, s.q, place.lane, place.first_row, c);
#pragma unroll
    for (int n = 0; n < kScoreTiles; n += 2) {
      uint32_t b[4];
      const int token = place.half * 32 + n * 8 + place.lane / 16 * 8 + place.lane % 8;
      load_matrices(b, &s.k.eight(token, c + place.lane / 8 % 2 * 8));
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
      *reinterpret_cast<uint32_t*>(&s.p.values[place.row(upper) * s.p.kStride + token]) =
          pack_bf16(scores[n][2 * upper], scores[n][2 * upper + 1]);
    }
  }
}

// [2] O += P V': this warp's 16 rows x 256 columns. B's rows are tokens: V' transposed on loading.
__device__ __forceinline__ void add_weighted_v(const Shared& s, const WarpPlace& place,
                                               float (&out)[kOutTiles][4]) {
  for (int t = 0; t < kTokens; t += kDepth) {
    uint32_t a[4];
    load_a(a, s.p, place.lane, place.first_row, t);
#pragma unroll
    for (int n = 0; n < kOutTiles; n += 2) {
      uint32_t b[4];
      const int column = place.half * 256 + n * 8 + place.lane / 16 * 8;
      load_matrices_transposed(b, &s.v.eight(t + place.lane % 16, column));
      mma_16x8x16(out[n], a, b[0], b[1]);
      mma_16x8x16(out[n + 1], a, b[2], b[3]);
    }
  }
}

__global__ void __launch_bounds__(kWarpThreads, 1) mma_sync(const Problem p) {
  Shared& s = *reinterpret_cast<Shared*>(dynamic_shared());
  const WarpPlace place = warp_place();
  const int64_t sequence = blockIdx.y;
  const int first_head = static_cast<int>(blockIdx.x) * kWarpRows;
  const int num_rows = p.heads - first_head < kWarpRows ? p.heads - first_head : kWarpRows;
  const int64_t first_row = sequence * p.heads + first_head;
  s.q.load<kWarpThreads>(p.q + first_row * kQkColumns, num_rows);

  RowStats stats;
  float out[kOutTiles][4] = {};
  const int tokens = p.seq_lens[sequence];
  for (int first = 0; first < tokens; first += kTokens) {
    const int64_t token = sequence * p.max_tokens + first;
    __syncthreads();  // the previous tile and its probabilities have been used
    s.k.load<kWarpThreads>(p.k + token * kQkColumns, tokens - first);
    s.v.load<kWarpThreads>(p.v + token * kValueColumns, tokens - first);
    __syncthreads();
    float scores[kScoreTiles][4] = {};
    compute_qk_scores(s, place, scores);  // [1]
    publish_maximum(place, tokens - first, p.scale * kLog2E, scores, s.rows);
    __syncthreads();
    online_softmax(place, s.rows, scores, stats, out);  // [2] [3]
    store_probabilities(s, place, scores);
    __syncthreads();
    add_weighted_v(s, place, out);  // [2]
  }
  normalize_and_store(place, stats, s.rows, out, num_rows,
                      p.out + first_row * kValueColumns);  // [4]
}

}  // namespace

Status prepare_rung_06(const Problem& problem, Launcher* launcher) {
  const LaunchShape shape = {ceil_div(problem.heads, kWarpRows), problem.batch, kWarpThreads,
                             sizeof(Shared)};
  SEESAW_RETURN_IF_ERROR(allow_shared(mma_sync, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(mma_sync, shape, stream, problem); };
  return {};
}

}  // namespace seesaw::ladder
