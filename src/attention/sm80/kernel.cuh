// The kernel: every warp loads, multiplies and weighs. The numbers are README.md's.
#pragma once

#include "attention/device/foreign_schedule.cuh"
#include "attention/device/row_anew.cuh"
#include "attention/sm80/convert.cuh"
#include "attention/sm80/epilogue.cuh"
#include "attention/sm80/loader.cuh"
#include "attention/sm80/queries.cuh"
#include "gpu/marks.cuh"
#include "gpu/ptx/grid_dependency.cuh"

namespace seesaw::attention::sm80 {

// [9] Rows of the warp that need it, or all of them; its column warps share them.
template <typename Config>
__device__ __noinline__ void compute_rows_anew(const Params& params, const PieceWork& piece,
                                               RowTotals totals, bool all) {
  const ThreadPlace<Config> at;
  const uint32_t asked[2] = {__ballot_sync(~0u, all || beyond_frames(totals, 0)),
                             __ballot_sync(~0u, all || beyond_frames(totals, 1))};
#pragma unroll 1
  for (int i = at.column_warp(); i < kWarpRows; i += kColumnWarps) {
    const uint32_t row_asked = (i < 8 ? asked[0] >> (4 * i) : asked[1] >> (4 * (i - 8))) & 1u;
    if (row_asked != 0) {
      RowAnew<Config>(params, piece, at.row_warp() * kWarpRows + i).run();
    }
  }
}

// Apart, as it never happens with ordinary schedules and would take registers.
template <typename Config>
__device__ __noinline__ void refuse(const Params& params) {
  refuse_schedule<Config>(params);
}

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

// A place in a ring of stages.
struct Stage {
  int32_t index = 0;

  __device__ __forceinline__ void step(int32_t stages) {
    ++index;
    if (index == stages) index = 0;
  }
};

// The block's pieces, one after the other. Tiles are numbered over all of them. When a tile's place
// is free again:
//   ahead     tile g - 1, behind [b2] of tile g
//   else      tile g, behind [b2'] of tile g
//   records   of tile g + 1, behind [b1] of tile g
template <typename Config>
struct Attention {
  using Ids = typename TileLoader<Config>::Ids;

  const Params& params;
  const Shared<Config>& shared;
  TileLoader<Config> loader;
  uint32_t number = 0;  // of the tile
  uint32_t copied = 0;  // tiles asked for
  Stage now, before;    // where the tile is, and the one before it
  Stage next_copy;      // where the next copy goes: a tile, or a record

  __device__ __forceinline__ Softmax<Config> softmax() const { return {params, shared}; }
  __device__ __forceinline__ bool ahead() const { return params.shared.ahead != 0; }
  __device__ __forceinline__ int32_t copy_stages() const {
    return Config::kConverts ? params.shared.num_raw : params.shared.num_tiles;
  }

  __device__ __forceinline__ void run() {
    if (shared.rest.work.num_pieces == 0) return;
    clear_padding();
    fill_ring();
#pragma unroll 1
    for (int32_t k = 0; k < shared.rest.work.num_pieces; ++k) {
      PieceWork& piece = shared.rest.piece[k % 2];
      if (threadIdx.x == 0) describe_piece(params, shared.rest, k, piece);
      __syncthreads();  // [b0]
      attend(piece, static_cast<uint32_t>(k));
    }
    ptx::copy_async_wait_all();  // none is under way when the block ends
  }

  static __device__ __noinline__ void describe_piece(const Params& params,
                                                     const SharedRest<Config>& rest, int32_t k,
                                                     PieceWork& piece) {
    piece = read_piece<Config>(params, rest.work, k);
    if (piece.stale) *params.fault = gpu::Fault::kStaleSchedule;
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
        ptx::store_shared_16(
            shared.tile(token / kTileTokens) + chunk_offset<Config>(token % kTileTokens, chunk),
            make_uint4(0, 0, 0, 0));
      }
    }
  }

  // [1] The first tiles; of records the first becomes a tile.
  __device__ __forceinline__ void fill_ring() {
    const int32_t count = params.shared.first_copies();
    loader.start();
    for (int32_t i = 0; i <= count; ++i) loader.write_ticket(static_cast<uint32_t>(i));
    __syncthreads();
    Ids next = loader.find(0);
#pragma unroll 1
    for (int32_t i = 0; i < count; ++i) {
      const Ids ids = next;
      next = loader.find(copied + 1);
      loader.copy(copied, next_copy.index, ids);
      ++copied;
      next_copy.step(copy_stages());
    }
    wait_for_copies(params.shared.pending());
    if constexpr (Config::kConverts) {
      __syncthreads();
      convert(0, 0);
      __syncthreads();  // the record is done with
      copy_next(loader.find(copied));
    }
  }

  __device__ __forceinline__ void copy_next(const Ids& ids) {
    loader.copy(copied, next_copy.index, ids);
    next_copy.step(copy_stages());
    ++copied;
    loader.write_ticket(copied);
  }

  // [3]
  __device__ __forceinline__ void convert(uint32_t of_number, int32_t to_stage) const {
    const int32_t stream = loader.ticket(of_number).stream;
    if (stream == kNoStream) return;
    const int32_t raw_stage = next_copy.index;  // the oldest record
    convert_tile<Config>(params, params.streams[stream], shared, raw_stage, to_stage);
  }

  __device__ __forceinline__ void attend(const PieceWork& piece, uint32_t piece_number) {
    Queries<Config> queries;
    QueryLoader<Config>{params, shared, piece}.load(queries);  // [2]
    note(piece_number, gpu::Mark::kOpened);
    Output<Config> output;
    output.clear();
    RowState rows;
    rows.clear();
    const int32_t tile_begin = piece.tile_begin;
#pragma unroll 1
    for (int32_t tile = tile_begin; tile < piece.tile_end; ++tile, ++number) {
      Ids ids;
      if constexpr (!Config::kConverts) ids = loader.find(copied);
      const uint32_t at_tile = shared.tile(now.index);
      Scores scores;  // [4]; and [7] of the tile before
      if (ahead() && tile > tile_begin) {
        scores = scores_and_values(queries, shared, at_tile, shared.tile(before.index), params.d_qk,
                                   output);
      } else {
        scores = scores_of(queries, shared.rotary, at_tile, params.d_qk);
      }
      const TileSight sight = sight_of_tile<Config>(params, piece, tile);
      softmax().mask_and_publish(piece, sight, number, scores);  // [5]
      if (tile == tile_begin) note(piece_number, gpu::Mark::kScored);
      if constexpr (Config::kConverts) wait_for_copies(params.shared.pending());
      __syncthreads();  // [b2]: the scores' maxima; the tile before is done with
      if constexpr (Config::kConverts) {
        ids = loader.find(copied);
      } else if (ahead()) {
        copy_next(ids);
      }
      softmax().weigh(scores, rows, output);  // [6]
      if (sight.partial) softmax().scrub(at_tile, piece_number);
      if (!ahead()) {
        // The values of a tile come right behind its scores, and its place is free then.
        __syncthreads();  // [b1']: probabilities
        add(output, now);
        __syncthreads();  // [b2']
        if constexpr (!Config::kConverts) copy_next(ids);
      }
      before = now;
      now.step(params.shared.num_tiles);
      if constexpr (Config::kConverts) {
        convert(number + 1, now.index);  // [3]
      } else {
        wait_for_copies(params.shared.pending());
      }
      __syncthreads();  // [b1]: probabilities, and the next tile
      if constexpr (Config::kConverts) copy_next(ids);
      if (tile == min(tile_begin + 1, piece.tile_end - 1)) {
        note(piece_number, gpu::Mark::kFirstPair);
      }
    }
    if (ahead() && piece.tile_end > tile_begin) add(output, before);
    note(piece_number, gpu::Mark::kTilesDone);
    const Epilogue<Config> end = {params, shared, piece};
    const RowTotals totals = end.run(rows, output, piece_number);  // [8]
    if (shared.rest.anew == piece_number + 1) {
      const bool all = shared.rest.not_finite == piece_number + 1;  // elements were scrubbed
      compute_rows_anew<Config>(params, piece, totals, all);        // [9]
    }
    note(piece_number, gpu::Mark::kFinished);
  }

  static __device__ __forceinline__ void note(uint32_t piece_number, gpu::Mark what) {
    gpu::mark<Config>(static_cast<int>(piece_number), what);
  }

  __device__ __forceinline__ void add(Output<Config>& output, Stage stage) const {
    add_values<Config>(output, shared.probabilities, shared.tile(stage.index));
  }
};

// A block of 16 rows shares its SM with another one; of 32 rows, it has it for itself.
template <typename Config>
__global__ void __launch_bounds__(Config::kThreads, 2 / Config::kRowWarps)
    attention_kernel(const __grid_constant__ Params params) {
  gpu::mark<Config>(0, gpu::Mark::kEntered);
  const Shared<Config> shared(ptx::dynamic_shared(), params.shared);
  ptx::wait_for_previous_grid();
  if (threadIdx.x == 0) {
    shared.rest.not_finite = shared.rest.anew = 0;
    shared.rest.work = block_work(params);
  }
  __syncthreads();
  ptx::release_next_grid();
  gpu::mark<Config>(0, gpu::Mark::kGo);
  if (__builtin_expect(shared.rest.work.foreign, 0)) refuse<Config>(params);
  Attention<Config>{.params = params, .shared = shared, .loader = {params, shared}}.run();
  gpu::mark<Config>(0, gpu::Mark::kLeft);
}

}  // namespace seesaw::attention::sm80
