// The kernel: every warp loads, multiplies and weighs. The numbers are README.md's.
#pragma once

#include "attention/sm80/convert.cuh"
#include "attention/sm80/epilogue.cuh"
#include "attention/sm80/foreign_schedule.cuh"
#include "attention/sm80/loader.cuh"
#include "attention/sm80/queries.cuh"
#include "attention/sm80/row_anew.cuh"
#include "gpu/ptx/grid_dependency.cuh"

namespace seesaw::attention::sm80 {

// Until at most `pending` of the thread's groups of copies are under way.
__device__ __forceinline__ void wait_for_copies(int pending) {
  switch (pending) {
    case 0:
      return ptx::copy_async_wait<0>();
    case 1:
      return ptx::copy_async_wait<1>();
    case 2:
      return ptx::copy_async_wait<2>();
    case 3:
      return ptx::copy_async_wait<3>();
    case 4:
      return ptx::copy_async_wait<4>();
    case 5:
      return ptx::copy_async_wait<5>();
    default:
      return ptx::copy_async_wait<6>();
  }
}

// The ring of tiles in shared memory: what is copied when, and what is waited for. Tiles are
// numbered over all pieces of the block. A tile's place is free when all warps have used it:
//   ahead     tile g - 1, behind [b2] of tile g
//   else      tile g, behind [b2'] of tile g
//   raw       record tile g + 1, behind [b1] of tile g + 1
template <typename Config>
struct TileRing {
  using Ids = typename TileLoader<Config>::Ids;

  const Params& params;
  const Shared<Config>& shared;
  TileLoader<Config> loader;
  uint32_t copied = 0;  // tiles asked for

  __device__ __forceinline__ bool raw() const { return params.shared.num_raw > 0; }
  __device__ __forceinline__ bool ahead() const { return params.shared.ahead != 0; }
  __device__ __forceinline__ uint32_t tile(uint32_t number) const {
    return shared.tile(static_cast<int32_t>(number % num_tiles()));
  }
  __device__ __forceinline__ uint32_t num_tiles() const {
    return static_cast<uint32_t>(params.shared.num_tiles);
  }
  __device__ __forceinline__ uint32_t num_raw() const {
    return static_cast<uint32_t>(params.shared.num_raw);
  }

  // What copy_next() will want, a while before.
  __device__ __forceinline__ Ids find_next() const { return loader.find(copied); }

  __device__ __forceinline__ void copy_next(const Ids& ids) {
    loader.copy(copied, static_cast<int32_t>(copied % (raw() ? num_raw() : num_tiles())), ids);
    ++copied;
    loader.write_ticket(copied);
  }

  // [1] fills the ring; of raw records the first become a tile.
  __device__ __forceinline__ void start() {
    const uint32_t count = raw() ? num_raw() : ahead() ? num_tiles() - 1 : num_tiles();
    loader.start();
    for (uint32_t i = 0; i <= count; ++i) loader.write_ticket(i);
    __syncthreads();
    Ids ids[kMostStages];
#pragma unroll
    for (uint32_t i = 0; i < kMostStages; ++i) {
      if (i < count) ids[i] = loader.find(i);
    }
#pragma unroll
    for (uint32_t i = 0; i < kMostStages; ++i) {
      if (i < count) loader.copy(i, static_cast<int32_t>(i), ids[i]);
    }
    copied = count;
    wait_for_next(0);
    if (raw()) {
      __syncthreads();
      convert_if_any(0);
    }
  }

  // Until this thread's part of tile `number` has arrived: it is the oldest that is not waited for.
  __device__ __forceinline__ void wait_for_next(uint32_t number) const {
    wait_for_copies(static_cast<int>(copied - number - 1));
  }

  // [3]
  __device__ __forceinline__ void convert_if_any(uint32_t number) const {
    const int32_t stream = loader.ticket(number).stream;
    if (stream == kNoStream) return;
    convert_tile<Config>(params, params.streams[stream], shared,
                         static_cast<int32_t>(number % num_raw()),
                         static_cast<int32_t>(number % num_tiles()));
  }
};

// The block's pieces, one after the other.
template <typename Config>
struct Attention {
  const Params& params;
  const Shared<Config>& shared;
  ThreadPlace<Config> at;
  TileRing<Config> ring;
  uint32_t number = 0;  // of the tile, over all pieces

  __device__ __forceinline__ Softmax<Config> softmax() const { return {params, shared, at}; }

  __device__ __forceinline__ void run() {
    const int32_t num_pieces = shared.rest.work.num_pieces;
    if (num_pieces == 0) return;
    clear_padding();
    ring.start();
    __syncthreads();  // [b1]
    if (ring.raw()) ring.copy_next(ring.find_next());
#pragma unroll 1
    for (int32_t k = 0; k < shared.rest.work.num_pieces; ++k) {
      PieceWork& piece = shared.rest.piece[k % 2];
      if (threadIdx.x == 0) {
        piece = read_piece<Config>(params, shared.rest.work, k);
        if (piece.stale) *params.fault = gpu::Fault::kStaleSchedule;
      }
      __syncthreads();  // [b0]
      attend(piece, static_cast<uint32_t>(k));
    }
  }

  // Columns behind d_qk that the products read are 0 for good.
  __device__ __forceinline__ void clear_padding() const {
    const int begin = (params.d_qk + kChunkColumns - 1) / kChunkColumns;
    const int read = max((params.d_qk + 31) / 32 * 32, Config::kValueColumns) / kChunkColumns;
    const int end = min(read, Config::kColumns / kChunkColumns);
#pragma unroll 1
    for (int token = static_cast<int>(threadIdx.x); token < params.shared.num_tiles * kTileTokens;
         token += Config::kThreads) {
#pragma unroll 1
      for (int chunk = begin; chunk < end; ++chunk) {
        ptx::store_shared_16(shared.tile(token / kTileTokens) +
                                 chunk_offset<Config>(token % kTileTokens, chunk),
                             make_uint4(0, 0, 0, 0));
      }
    }
  }

  __device__ __forceinline__ void attend(const PieceWork& piece, uint32_t piece_number) {
    Queries<Config> queries;
    QueryLoader<Config>{params, shared, piece, at}.load(queries);  // [2]
    Output<Config> output;
    output.clear();
    RowState rows;
    rows.clear();
    const bool ahead = ring.ahead();
    const int32_t tile_begin = piece.tile_begin;
    const int32_t tile_end = piece.tile_end;
#pragma unroll 1
    for (int32_t tile = tile_begin; tile < tile_end; ++tile, ++number) {
      typename TileRing<Config>::Ids ids;
      if (!ring.raw()) ids = ring.find_next();
      Scores scores = scores_of<Config>(queries, shared.rotary, ring.tile(number), at, params.d_qk);  // [4]
      const TileSight sight = sight_of_tile(params, piece, tile);
      softmax().mask_and_publish(piece, sight, number, scores);  // [5]
      if (ahead && tile > tile_begin) add(output, number - 1);  // [7] of the tile before
      if (ahead && ring.raw()) ring.wait_for_next(number + 1);
      __syncthreads();  // [b2]: the scores' maxima; the tile before is done with
      if (ring.raw()) {
        ids = ring.find_next();
      } else if (ahead) {
        ring.copy_next(ids);
      }
      softmax().weigh(scores, rows, output);  // [6]
      if (sight.partial) softmax().scrub(ring.tile(number), piece_number);
      if (!ahead) finish_tile(output, ids);
      if (ring.raw()) {
        ring.convert_if_any(number + 1);  // [3]
      } else {
        ring.wait_for_next(number + 1);
      }
      __syncthreads();  // [b1]: probabilities, and the next tile
      if (ring.raw()) ring.copy_next(ids);
    }
    if (ahead && tile_end > tile_begin) add(output, number - 1);
    const Epilogue<Config> end = {params, shared, piece, at};
    const RowTotals totals = end.run(rows, output, piece_number);  // [8]
    compute_rows_anew(params, shared, piece, at, totals, piece_number);  // [9]
  }

  // Not ahead: the values of a tile come right behind its scores, and its place is free then.
  __device__ __forceinline__ void finish_tile(Output<Config>& output,
                                              const typename TileRing<Config>::Ids& ids) {
    __syncthreads();  // [b1']: probabilities
    add(output, number);
    if (ring.raw()) ring.wait_for_next(number + 1);
    __syncthreads();  // [b2']
    if (!ring.raw()) ring.copy_next(ids);
  }

  __device__ __forceinline__ void add(Output<Config>& output, uint32_t tile) const {
    add_values<Config>(output, shared.probabilities, ring.tile(tile), at);
  }
};

// A block of 16 rows shares its SM with another one; of 32 rows, it has it for itself.
template <typename Config>
__global__ void __launch_bounds__(Config::kThreads, 2 / Config::kRowWarps)
    attention_kernel(const __grid_constant__ Params params) {
  const Shared<Config> shared(ptx::dynamic_shared(), params.shared);
  ptx::wait_for_previous_grid();
  if (threadIdx.x == 0) {
    shared.rest.not_finite = shared.rest.anew = 0;
    shared.rest.work = block_work(params);
  }
  __syncthreads();
  ptx::release_next_grid();
  if (__builtin_expect(shared.rest.work.foreign, 0)) refuse_schedule<Config>(params);
  Attention<Config>{params, shared, {}, {params, shared, {params, shared}}}.run();
}

}  // namespace seesaw::attention::sm80
