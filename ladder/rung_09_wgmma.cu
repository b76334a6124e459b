// Rung 9: tensor cores with WGMMA.
//
// WHY. mma.sync takes its operands from registers, so every element of K' passes through ldmatrix
// in four of the eight warps as a key, and in four as a value. WGMMA is one instruction of a
// warpgroup (128 threads) that reads both operands from shared memory itself, in the swizzle that
// TMA wrote, and runs asynchronously: 64 x 256 x 16 multiply-adds each, at the tensor cores' full
// rate. The output, 64 x 512 floats, is shared by two warpgroups: 256 columns, 128 registers a
// thread.
//
// Warpgroup 0 scores the tile and makes the probabilities; both multiply them with their half of
// V':
//   group 0:  scores | softmax | P V' left
//   group 1:   idle  |  idle   | P V' right
//
// COST. Exactly that picture. The tensor cores rest during every softmax, and half of the threads
// rest during the scores as well: strictly one thing after the other. Rung 10 makes them take
// turns.
#include "ladder/copies.cuh"
#include "ladder/warpgroup.cuh"

namespace seesaw::ladder {
namespace {

constexpr int kThreads = 2 * kWarpgroupThreads;

struct Shared {
  SwizzledBlock q;
  SwizzledBlock k[2];
  SwizzledTile p;
  float factor[kTileRows];  // by which this tile moves each row's maximum
  float sum[kTileRows];
  uint64_t q_full;
  uint64_t k_full[2];
};

// A thread's two rows, in warpgroup 0.
struct RowState {
  float maximum[2] = {kNoMaximum, kNoMaximum};
  float sum[2] = {0.0F, 0.0F};  // over this thread's tokens
};

// Warpgroup 0: scores, online softmax, probabilities and factors to shared memory.
__device__ __forceinline__ void score_tile(Shared& s, const SwizzledBlock& k,
                                           const GroupPlace& place, int count, float scale_log2,
                                           RowState& rows) {
  float scores[32];
  ptx::wgmma_fence();
  issue_scores<0, kColumnTiles, true>(
      scores, ptx::opaque(ptx::descriptor_k_major(ptx::shared_address(&s.q))),
      ptx::opaque(ptx::descriptor_k_major(ptx::shared_address(&k))));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  ptx::pin(scores);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float tile_maximum = scale_and_maximum(scores, r, place.lane, count, scale_log2);
    const float maximum = fmaxf(rows.maximum[r], tile_maximum);
    const float factor = ptx::exp2_approx(rows.maximum[r] - maximum);
    rows.maximum[r] = maximum;
    rows.sum[r] = rows.sum[r] * factor + exponentiate(scores, r, maximum);
    if (place.lane % 4 == 0) {
      s.factor[place.row(r)] = factor;
    }
  }
  uint32_t p[16];
  pack_probabilities(scores, 1.0F, 1.0F, p);
  store_probabilities(s.p.bytes, place, p);
}

// Either warpgroup: its half of the output moves to the new maximum and takes the tile's values.
__device__ __forceinline__ void add_values(const Shared& s, const SwizzledBlock& k,
                                           const GroupPlace& place, int half, float (&out)[128]) {
  scale_out(out, s.factor[place.row(0)], s.factor[place.row(1)]);
  const uint32_t v = ptx::shared_address(k.bytes + half * (kValueTiles / 2) * kTileBytes);
  ptx::wgmma_fence();
  issue_values(out, ptx::opaque(ptx::descriptor_k_major(ptx::shared_address(&s.p))),
               ptx::opaque(ptx::descriptor_mn_major(v, kTileBytes)));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  ptx::pin(out);
}

__global__ void __launch_bounds__(kThreads, 1)
    wgmma(const __grid_constant__ Maps maps, const Problem p) {
  Shared& s = *reinterpret_cast<Shared*>(dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int group = __shfl_sync(~0U, thread / kWarpgroupThreads, 0);  // the same for a whole warp
  const GroupPlace place = group_place();
  const int64_t sequence = blockIdx.y;
  const int first_head = static_cast<int>(blockIdx.x) * kTileRows;
  const int64_t first_row = sequence * p.heads + first_head;
  const int tokens = p.seq_lens[sequence];
  const int tiles = ceil_div(tokens, kPageTokens);
  const int32_t* pages = p.block_table + sequence * (p.max_tokens / kPageTokens);
  if (thread == 0) {
    ptx::mbarrier_init(ptx::shared_address(&s.q_full), 1);
    ptx::mbarrier_init(ptx::shared_address(&s.k_full[0]), 1);
    ptx::mbarrier_init(ptx::shared_address(&s.k_full[1]), 1);
    ptx::fence_mbarrier_init();
    request(s.q.bytes, s.q_full, maps.q, static_cast<int>(first_row));
    request(s.k[0].bytes, s.k_full[0], maps.pool, pages[0] * kPageTokens);
  }
  __syncthreads();
  ptx::mbarrier_wait(ptx::shared_address(&s.q_full), 0);

  RowState rows;
  float out[128] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % 2;
    SwizzledBlock& k = s.k[stage];
    if (thread == 0 && tile + 1 < tiles) {
      request(s.k[1 - stage].bytes, s.k_full[1 - stage], maps.pool, pages[tile + 1] * kPageTokens);
    }
    ptx::mbarrier_wait(ptx::shared_address(&s.k_full[stage]), static_cast<uint32_t>(tile / 2 % 2));
    const int count = tokens - tile * kPageTokens;
    if (count < kPageTokens) {
      clear_rows(k.bytes, kColumnTiles, count, thread, kThreads);
      ptx::fence_async_proxy();
      __syncthreads();
    }
    if (group == 0) {
      score_tile(s, k, place, count, p.scale * kLog2E, rows);
    }
    __syncthreads();  // probabilities and factors are there
    add_values(s, k, place, group, out);
    __syncthreads();  // this stage, the probabilities and the factors are free
  }
  if (group == 0) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = sum_of_quad(rows.sum[r]);
      if (place.lane % 4 == 0) {
        s.sum[place.row(r)] = sum;
      }
    }
  }
  __syncthreads();
  const int num_rows = p.heads - first_head < kTileRows ? p.heads - first_head : kTileRows;
  const float sums[2] = {s.sum[place.row(0)], s.sum[place.row(1)]};
  write_out(out, place, sums, num_rows,
            p.out + first_row * kValueColumns + group * (kValueColumns / 2));
}

}  // namespace

Status prepare_rung_09(const Problem& problem, Launcher* launcher) {
  Maps maps;
  SEESAW_RETURN_IF_ERROR(
      make_tile_map(problem.q, int64_t{problem.batch} * problem.heads, kColumnTiles, &maps.q));
  SEESAW_RETURN_IF_ERROR(make_tile_map(problem.pool, int64_t{problem.num_pages} * kPageTokens,
                                       kColumnTiles, &maps.pool));
  const LaunchShape shape = {ceil_div(problem.heads, kTileRows), problem.batch, kThreads,
                             sizeof(Shared)};
  SEESAW_RETURN_IF_ERROR(allow_shared(wgmma, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(wgmma, shape, stream, maps, problem); };
  return {};
}

}  // namespace seesaw::ladder
