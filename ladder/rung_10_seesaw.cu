// Rung 10: two warpgroups taking turns (the seesaw).
//
// WHY. In rung 9 the tensor cores rest during every softmax. Two tiles in flight fix that: each
// warpgroup scores a tile of its own, and while one is at its softmax the other multiplies. But the
// output has to be shared, 256 columns a group, so each group needs both tiles' probabilities. With
// running maximum m (docs/guide, chapter 4):
//   m0 = max(m, S0)    scale0 = 2^(m - m0)     P0 = 2^(S0 - m0)
//   m1 = max(m0, S1)   scale1 = 2^(m0 - m1)    P1 = 2^(S1 - m1)
//   O  = O scale0 scale1 + (P0 scale1) V0 + P1 V1        which is online softmax, exactly
//   left (0):  m0 | O scale0, += P0 V0 | O scale1, += P1 V1 | scores of the next even tile
//
//   right (1):    | m1 | O scale0 scale1, += P1 V1, += P0 scale1 V0 | scores of the next odd tile
//
// A third warpgroup only asks for copies. Everything is ordered by what becomes true (enum Fact).
//
// COST. Measured: 1.13 times rung 9, where 1.36 was predicted; docs/notebook/0030 says what is
// known of the rest. And one block per 64 rows of a sequence, whatever its length: few sequences
// leave most SMs empty, and unequal ones let all wait for the longest. Rung 11 splits sequences
// between blocks.
#include "ladder/copies.cuh"
#include "ladder/seesaw_parts.cuh"

namespace seesaw::ladder {
namespace {

// Group 0: even tiles and the left half of the output.
__device__ __forceinline__ void even_tiles(SeesawShared& s, const Sequence& w, float scale_log2) {
  const GroupPlace place = group_place();
  float out[128] = {};
  float scores[32];
  float sum[2] = {};
  uint32_t p[16];
  uint32_t q8[16];
  load_rotary_q(s, place, q8);
  const uint32_t q = ptx::descriptor_k_major(ptx::shared_address(&s.q));
  const uint32_t k0 = ptx::descriptor_k_major(ptx::shared_address(&s.k[0]));
  const uint32_t v0 = ptx::descriptor_mn_major(ptx::shared_address(&s.k[0]), kTileBytes);
  const uint32_t v1 = ptx::descriptor_mn_major(ptx::shared_address(&s.k[1]), kTileBytes);
  wait_for_half(s, w, 0, 0);
  issue_half<0, true>(scores, q8, q, k0);
  wait_for_half(s, w, 0, 1);
  issue_half<1, false>(scores, q8, q, k0);
  ptx::wgmma_wait<0>();
  ptx::pin(scores);
  for (int pair = 0; pair < w.pairs; ++pair) {
    float factor[2];
    next_maximum(s, place, scores, w.visible(2 * pair), scale_log2, s.scale0, factor, sum);
    fact_is_true(kScale0Ready);
    scale_if_needed(out, factor);
    pack_probabilities(scores, 1.0F, 1.0F, p);
    ptx::wgmma_fence();
    issue_values(out, p, ptx::opaque(v0));  // O_left += P0 V0_left
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin(out);
    release_half(s, place, 0, 0);

    wait_for_fact(kScale1Ready);
    const float factor1[2] = {s.scale1[place.row(0)], s.scale1[place.row(1)]};
    pack_probabilities(scores, factor1[0], factor1[1], p);  // P0 moves to the frame of m1
    store_probabilities(s.p0.bytes, place, p);
    fact_is_true(kP0Ready);
    wait_for_fact(kP1Ready);
    scale_if_needed(out, factor1);
    sum[0] *= factor1[0];
    sum[1] *= factor1[1];
    ptx::wgmma_fence();
    issue_values(out, ptx::opaque(ptx::descriptor_k_major(ptx::shared_address(s.p1()))),
                 ptx::opaque(v1));  // O_left += P1 V1_left
    ptx::wgmma_commit();
    if (pair + 1 < w.pairs) {
      wait_for_half(s, w, 2 * pair + 2, 0);
      issue_half<0, true>(scores, q8, ptx::opaque(q), ptx::opaque(k0));
      ptx::wgmma_wait<1>();
      release_half(s, place, 1, 0);
      wait_for_half(s, w, 2 * pair + 2, 1);
      issue_half<1, false>(scores, q8, ptx::opaque(q), ptx::opaque(k0));
    }
    ptx::wgmma_wait<0>();
    ptx::pin(scores);
    ptx::pin(out);
  }
  finish(s, w, place, 0, sum, out);
}

// Group 1: odd tiles and the right half.
__device__ __forceinline__ void odd_tiles(SeesawShared& s, const Sequence& w, float scale_log2) {
  const GroupPlace place = group_place();
  float out[128] = {};
  float scores[32];
  float sum[2] = {};
  uint32_t p[16];
  uint32_t q8[16];
  load_rotary_q(s, place, q8);
  constexpr uint32_t kRight = kValueTiles / 2 * kTileBytes;
  const uint32_t q = ptx::descriptor_k_major(ptx::shared_address(&s.q));
  const uint32_t k1 = ptx::descriptor_k_major(ptx::shared_address(&s.k[1]));
  const uint32_t v0 = ptx::descriptor_mn_major(ptx::shared_address(&s.k[0]) + kRight, kTileBytes);
  const uint32_t v1 = ptx::descriptor_mn_major(ptx::shared_address(&s.k[1]) + kRight, kTileBytes);
  wait_for_half(s, w, 1, 1);
  issue_half<1, true>(scores, q8, q, k1);
  wait_for_half(s, w, 1, 0);
  issue_half<0, false>(scores, q8, q, k1);
  ptx::wgmma_wait<0>();
  ptx::pin(scores);
  for (int pair = 0; pair < w.pairs; ++pair) {
    wait_for_fact(kScale0Ready);
    float factor[2];
    sum[0] *= s.scale0[place.row(0)];
    sum[1] *= s.scale0[place.row(1)];
    const float factor0[2] = {s.scale0[place.row(0)], s.scale0[place.row(1)]};
    next_maximum(s, place, scores, w.visible(2 * pair + 1), scale_log2, s.scale1, factor, sum);
    fact_is_true(kScale1Ready);
    const float both[2] = {factor0[0] * factor[0], factor0[1] * factor[1]};
    scale_if_needed(out, both);
    pack_probabilities(scores, 1.0F, 1.0F, p);
    store_probabilities(s.p1(), place, p);
    ptx::wgmma_fence();
    issue_values(out, p, ptx::opaque(v1));  // O_right += P1 V1_right
    ptx::wgmma_commit();
    wait_for_fact(kP0Ready);
    issue_values(out, ptx::opaque(ptx::descriptor_k_major(ptx::shared_address(&s.p0))),
                 ptx::opaque(v0));  // O_right += (P0 scale1) V0_right
    ptx::wgmma_commit();
    fact_is_true(kP1Ready);
    ptx::wgmma_wait<1>();
    release_half(s, place, 1, 1);
    ptx::wgmma_wait<0>();
    ptx::pin(out);
    release_half(s, place, 0, 1);
    if (pair + 1 < w.pairs) {
      wait_for_half(s, w, 2 * pair + 3, 1);
      issue_half<1, true>(scores, q8, ptx::opaque(q), ptx::opaque(k1));
      wait_for_half(s, w, 2 * pair + 3, 0);
      issue_half<0, false>(scores, q8, ptx::opaque(q), ptx::opaque(k1));
      ptx::wgmma_wait<0>();
    }
    ptx::pin(scores);
  }
  finish(s, w, place, 1, sum, out);
}

__global__ void __launch_bounds__(kSeesawThreads, 1)
    seesaw(const __grid_constant__ SeesawMaps maps, const Problem p) {
  SeesawShared& s = *reinterpret_cast<SeesawShared*>(dynamic_shared());
  const int group = __shfl_sync(~0U, static_cast<int>(threadIdx.x) / kWarpgroupThreads, 0);
  const Sequence work = sequence_of_block(p);
  if (threadIdx.x == 0) {
    start(s, maps, work);
  }
  if (threadIdx.x < kTileRows) {
    s.maximum[threadIdx.x] = kNoMaximum;
  }
  __syncthreads();
  if (group == 2) {
    ptx::lower_registers<24>();
    if (threadIdx.x == 2 * kWarpgroupThreads) {
      produce(s, maps, work);
    }
  } else {
    ptx::raise_registers<240>();
    ptx::mbarrier_wait(ptx::shared_address(&s.q_full), 0);
    if (group == 0) {
      even_tiles(s, work, p.scale * kLog2E);
    } else {
      odd_tiles(s, work, p.scale * kLog2E);
    }
  }
}

}  // namespace

Status prepare_rung_10(const Problem& problem, Launcher* launcher) {
  SeesawMaps maps;
  const int64_t slots = int64_t{problem.num_pages} * kPageTokens;
  SEESAW_RETURN_IF_ERROR(
      make_tile_map(problem.q, int64_t{problem.batch} * problem.heads, kColumnTiles, &maps.q));
  SEESAW_RETURN_IF_ERROR(make_tile_map(problem.pool, slots, kHalfTiles, &maps.pool[0]));
  SEESAW_RETURN_IF_ERROR(make_tile_map(problem.pool, slots, kRightTiles, &maps.pool[1]));
  const LaunchShape shape = {ceil_div(problem.heads, kTileRows), problem.batch, kSeesawThreads,
                             sizeof(SeesawShared)};
  SEESAW_RETURN_IF_ERROR(allow_shared(seesaw, shape.shared_bytes));
  *launcher = [=](Stream stream) { return launch(seesaw, shape, stream, maps, problem); };
  return {};
}

}  // namespace seesaw::ladder
