// A worker's pieces: the algorithm of README.md, whose step numbers stand beside the lines.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/float16.hpp"
#include "base/math.hpp"
#include "ops/dense_decode/cpu/call.hpp"

namespace seesaw::dense_decode::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLog2E = 1.44269504088896341F;

// Rows [row_begin, row_begin + count) of one KV head of one sequence, and their accumulators.
struct RowGroup {
  int64_t sequence;
  int64_t kv_head;
  int64_t row_begin;
  int64_t count;
  float* output;  // [row - row_begin][output_stride]
};

// Tokens [begin, end) of a sequence.
struct Chunk {
  int64_t begin;
  int64_t end;
  Accumulators accumulators;
};

// A scale so small that unscaled scores could overflow is taken apart: a power of two goes into the
// queries, the rest stays with the softmax. A scale of 0 goes into the queries whole.
struct ScaleParts {
  float of_query;  // 1 for all other scales
  float of_scores;
};

ScaleParts parts_of(float scale) {
  constexpr float kSmall = 0x1p-20F;
  if (!(std::abs(scale) < kSmall)) {  // or NaN
    return {1.0F, scale};
  }
  if (scale == 0.0F) {
    return {0.0F, 1.0F};
  }
  const float power = std::ldexp(1.0F, std::max(std::ilogb(scale), -126));
  return {power, scale / power};
}

// Multiplies packed query words by a power of two, or by 0.
void scale_query(const Microkernel& kernel, int64_t count, float factor, uint32_t* words) {
  for (int64_t i = 0; i < count; ++i) {
    if (kernel.elements_per_word == 1) {
      words[i] = std::bit_cast<uint32_t>(std::bit_cast<float>(words[i]) * factor);
      continue;
    }
    const auto scaled = [&](uint32_t bits) {
      const float value = to_float(BFloat16{static_cast<uint16_t>(bits)});
      return uint32_t{from_float<BFloat16>(value * factor).bits};
    };
    words[i] = scaled(words[i] & 0xFFFFU) | (scaled(words[i] >> 16) << 16);
  }
}

class PieceWorker {
 public:
  PieceWorker(const DecodeCall& call, int32_t worker)
      : call_(call),
        problem_(call.problem()),
        kernel_(call.kernel),
        packed_(call.geometry.packed),
        quantised_(!is_plain(call.problem().kv_format)),
        row_bytes_(row_stride_bytes(call.format, call.problem().kv_token_stride)),
        scale_(parts_of(call.args.scale * tensor_scale_of(call))),
        scratch_(scratch_of(call.geometry, call.kernel, call.workspace, worker)) {}

  void run(const split::Piece& piece) {
    const int64_t rows = problem_.rows();
    for (int64_t kv_head = 0; kv_head < problem_.h_kv; ++kv_head) {
      for (int64_t row = 0; row < rows; row += call_.geometry.group_rows) {
        RowGroup group{piece.sequence, kv_head, row,
                       std::min(call_.geometry.group_rows, rows - row), scratch_.output};
        run_group(piece, group);
      }
    }
  }

 private:
  void run_group(const split::Piece& piece, RowGroup& group) {
    const int64_t tile = call_.plan.split.tile_tokens;
    const int64_t begin = piece.tile_begin * tile;
    const int64_t end = std::min(piece.tile_end * tile, length_of(call_.args, piece.sequence));
    if (piece.partial >= 0) {
      group.output = partial(piece).output + partial_row(group) * packed_.output_stride;
    }
    start_rows(group);  // [1]
    // Nothing has fetched the first chunk ahead, so it is short; each one after is twice as long.
    const int64_t first = std::min(kernel_.chunk.first, call_.geometry.chunk_tokens);
    Chunk chunk{begin, std::min(begin + first, end), Accumulators::kStart};
    for (; chunk.begin < end; chunk.accumulators = Accumulators::kContinue) {
      const PackedTokens tokens = pack(group, chunk, pairs_rows(group, chunk));  // [2]
      const int64_t length = std::min(2 * (chunk.end - chunk.begin), call_.geometry.chunk_tokens);
      const int64_t next_end = std::min(chunk.end + length, end);
      const NextRows next = next_rows(group, chunk.end, next_end);
      // Last rows first: later query tokens see more, and attend_masked narrows the values.
      for (int64_t row = (group.count - 1) / kRowBlock * kRowBlock; row >= 0; row -= kRowBlock) {
        attend(group, row, chunk, tokens, row == 0 ? next : NextRows{});
      }
      chunk.begin = chunk.end;
      chunk.end = next_end;
    }
    finish(piece, group);  // [6]
  }

  Partial partial(const split::Piece& piece) const {
    return partial_of(call_.geometry, kernel_, call_.plan.split, call_.workspace, piece.partial);
  }

  int64_t partial_row(const RowGroup& group) const {
    return group.kv_head * problem_.rows() + group.row_begin;
  }

  // [1] packs the query rows and empties the running maximum and sum.
  void start_rows(const RowGroup& group) {
    const Tensor& q = call_.args.q;
    const auto* base = static_cast<const char*>(q.data);
    const int64_t padded = round_up(group.count, kernel_.lanes);
    for (int64_t row = 0; row < padded; row += kernel_.lanes) {
      const void* rows[kMaxLanes] = {};
      for (int64_t lane = 0; lane < std::min(kernel_.lanes, group.count - row); ++lane) {
        const RowPlace place = place_of(problem_, group.sequence, partial_row(group) + row + lane);
        const int64_t offset =
            place.sequence * q.stride[0] + place.token * q.stride[1] + place.head * q.stride[2];
        rows[lane] = base + offset * element_bytes(q);
      }
      uint32_t* words = scratch_.query + row / kernel_.lanes * packed_.query_vector_stride;
      kernel_.pack_query(packed_, rows, dtype_of(q), words);
      if (scale_.of_query != 1.0F) {
        scale_query(kernel_, packed_.depth_blocks * packed_.depth_block_words * kernel_.lanes,
                    scale_.of_query, words);
      }
    }
    std::fill_n(scratch_.maximum, padded, -kInfinity);
    std::fill_n(scratch_.sum, padded, 0.0F);
  }

  // Up to `count` tokens from `token` on that lie in one page.
  TokenRun run_at(const RowGroup& group, int64_t token, int64_t count) const {
    const Tensor& cache = call_.args.kv_cache;
    const Tensor& table = call_.args.block_table;
    const auto* pages = static_cast<const int32_t*>(table.data) + group.sequence * table.stride[0];
    const int64_t slot = token % problem_.page_size;
    const int64_t page = pages[token / problem_.page_size] * problem_.kv_page_stride +
                         group.kv_head * problem_.kv_head_stride;
    return {static_cast<const char*>(cache.data) + page * element_bytes(cache) + slot * row_bytes_,
            row_bytes_, std::min(problem_.page_size - slot, count)};
  }

  // The records of a run that begins with `token`.
  RecordRun records_of(const TokenRun& run, int64_t token) const {
    const int64_t slot = token % problem_.page_size;
    const auto* row = static_cast<const std::byte*>(run.first);
    return {record_at(call_.format, row - slot * row_bytes_, problem_.page_size, row_bytes_, slot),
            row_bytes_, run.count};
  }

  // Puts tokens [token, tile_end) at token `at` of the packed keys.
  void pack_tile(const RowGroup& group, int64_t token, int64_t tile_end, int64_t at) {
    while (token < tile_end) {
      const TokenRun run = run_at(group, token, tile_end - token);
      if (quantised_) {
        kernel_.pack_records(packed_, call_.format, records_of(run, token), at, scratch_.keys);
      } else {
        kernel_.pack_keys(packed_, run, problem_.kv_type(), at, scratch_.keys);
      }
      token += run.count;
      at += run.count;
    }
  }

  // Whether a chunk's values are not packed but paired while they are accumulated. Not where some
  // row's sight ends in the chunk: accumulate_masked works on packed values.
  bool pairs_rows(const RowGroup& group, const Chunk& chunk) const {
    return group.count <= kernel_.unpacked_rows && packed_.value_vectors % 2 == 0 &&
           visible_to(group, 0) >= chunk.end;
  }

  // [2] gathers a chunk through the block table, once for all rows. A few tokens at a time, so that
  // values are made from keys that are in the first cache.
  PackedTokens pack(const RowGroup& group, const Chunk& chunk, bool paired) {
    PackedTokens tokens{scratch_.keys, scratch_.values, scratch_.in_place, 0, row_bytes_};
    for (int64_t tile = chunk.begin; tile < chunk.end; tile += kTileKeys) {
      const int64_t tile_end = std::min(tile + kTileKeys, chunk.end);
      const int64_t index = (tile - chunk.begin) / kTileKeys;
      const TokenRun first = run_at(group, tile, tile_end - tile);
      const bool in_place = !quantised_ && kernel_.reads_in_place(packed_, first);
      scratch_.in_place[index] = in_place ? first.first : nullptr;
      if (!in_place) {
        pack_tile(group, tile, tile_end, tile - chunk.begin);
      }
      tokens.count = tile_end - chunk.begin;
      if (kernel_.values_follow_scores) continue;
      if (tokens.count % kernel_.value_tokens != 0 && tile_end != chunk.end) {
        continue;
      }
      if (!paired || tokens.count % kTileKeys != 0) {  // it also clears what a tile lacks
        kernel_.pack_values(packed_, tokens,
                            (tokens.count - 1) / kernel_.value_tokens * kernel_.value_tokens);
      }
    }
    return tokens;
  }

  // The rows of tokens [begin, end), to be fetched ahead.
  NextRows next_rows(const RowGroup& group, int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; token += kTileKeys) {
      scratch_.next_rows[(token - begin) / kTileKeys] = run_at(group, token, 1).first;
    }
    return {scratch_.next_rows, std::max<int64_t>(end - begin, 0), row_bytes_};
  }

  int64_t visible_to(const RowGroup& group, int64_t row) const {
    const int64_t token = (group.row_begin + row) / problem_.group();
    return visible_tokens(length_of(call_.args, group.sequence), problem_.s_q, token,
                          problem_.mask());
  }

  // [3][4][5] one block of rows, from `row` of the group on, attends a chunk.
  void attend(const RowGroup& group, int64_t row, const Chunk& chunk, const PackedTokens& tokens,
              const NextRows& next) {
    const int64_t count = std::min(kRowBlock, group.count - row);
    const int64_t vectors = ceil_div(count, kernel_.lanes);
    const int64_t first_vector = row / kernel_.lanes;
    kernel_.scores(packed_, {scratch_.query + first_vector * packed_.query_vector_stride, tokens,
                             vectors, scratch_.scores, next});  // [3]
    if (kernel_.values_follow_scores &&
        row + count == group.count) {  // the first block of the chunk
      kernel_.pack_values(packed_, tokens, 0);
    }
    const bool masked = visible_to(group, row) < chunk.end;
    if (masked) {
      for (int64_t r = 0; r < vectors * kernel_.lanes; ++r) {
        const int64_t visible = visible_to(group, std::min(row + r, group.count - 1));
        scratch_.visible[r] =
            static_cast<int32_t>(std::clamp<int64_t>(visible - chunk.begin, 0, tokens.count));
      }
    }
    for (int64_t v = 0; v < vectors; ++v) {  // [4]
      const int64_t lane = v * kernel_.lanes;
      kernel_.softmax({scratch_.scores + v * packed_.score_vector_stride,
                       scratch_.weights + v * packed_.weight_vector_stride, tokens.count,
                       masked ? scratch_.visible + lane : nullptr, scale_.of_scores * kLog2E,
                       scratch_.maximum + row + lane, scratch_.sum + row + lane,
                       scratch_.rescale + lane});
    }
    AccumulateTask task{scratch_.weights,
                        tokens.values,
                        tokens.count,
                        0,
                        count,
                        scratch_.rescale,
                        group.output + row * packed_.output_stride,
                        chunk.accumulators,
                        pairs_rows(group, chunk) ? &tokens : nullptr,
                        next};
    if (masked) {
      accumulate_masked(group, row, tokens, task);
    } else {
      kernel_.accumulate(packed_, task);  // [5]
    }
  }

  // [5] where rows see different numbers of tokens. A weight of 0 does not make an unattended NaN
  // or infinity disappear, so each query token's rows meet values that end where its sight ends.
  // Going from the last query token to the first, the values only ever lose tokens.
  void accumulate_masked(const RowGroup& group, int64_t row, const PackedTokens& tokens,
                         AccumulateTask task) {
    const int64_t count = task.row_end;
    int64_t values_end = tokens.count;
    for (int64_t end = count; end > 0;) {
      const int64_t last_in_sequence = group.row_begin + row + end - 1;
      const int64_t first_in_sequence = last_in_sequence / problem_.group() * problem_.group();
      task.row_end = end;
      task.row_begin = std::max<int64_t>(first_in_sequence - group.row_begin - row, 0);
      task.tokens = scratch_.visible[end - 1];
      clear_values(tokens, task.tokens, values_end);
      values_end = task.tokens;
      kernel_.accumulate(packed_, task);
      end = task.row_begin;
    }
  }

  // Zeroes the packed values of tokens [begin, end).
  void clear_values(const PackedTokens& tokens, int64_t begin, int64_t end) const {
    const int64_t per_word = kernel_.elements_per_word;
    const int64_t column_blocks = ceil_div(packed_.d_v, kernel_.column_block);
    for (int64_t token = begin; token < end; ++token) {
      // The elements before this token in its word stay: they are its word's low bits.
      const int64_t bits = 32 / per_word * (token % per_word);
      const uint32_t keep = (uint32_t{1} << bits) - 1;
      for (int64_t block = 0; block < column_blocks; ++block) {
        uint32_t* words = tokens.values + block * packed_.value_block_stride +
                          token / per_word * kernel_.column_block;
        std::for_each(words, words + kernel_.column_block,
                      [keep](uint32_t& word) { word &= keep; });
      }
    }
  }

  // [6] hands over what the rows have: results, or the partial's maximum and sum.
  void finish(const split::Piece& piece, const RowGroup& group) {
    if (piece.partial >= 0) {
      const Partial slot = partial(piece);
      std::copy_n(scratch_.maximum, group.count, slot.maximum + partial_row(group));
      std::copy_n(scratch_.sum, group.count, slot.sum + partial_row(group));
      return;
    }
    for (int64_t row = 0; row < group.count; ++row) {
      const RowPlace place = place_of(problem_, group.sequence, partial_row(group) + row);
      store_result(call_, place, group.output + row * packed_.output_stride, scratch_.maximum[row],
                   scratch_.sum[row]);
    }
  }

  const DecodeCall& call_;
  const DenseDecodeProblem& problem_;
  const Microkernel& kernel_;
  const PackedLayout& packed_;
  const bool quantised_;
  const int64_t row_bytes_;  // from a token's row to the next
  const ScaleParts scale_;
  const Scratch scratch_;
};

}  // namespace

void do_pieces(const DecodeCall& call, int32_t worker) {
  const InUse kernel(call.kernel);
  PieceWorker state(call, worker);
  const split::WorkerPieces* pieces = call.schedule.worker_pieces + worker;
  for (int32_t piece = pieces->begin; piece < pieces->end; ++piece) {
    state.run(call.schedule.pieces[piece]);
  }
}

}  // namespace seesaw::dense_decode::cpu
