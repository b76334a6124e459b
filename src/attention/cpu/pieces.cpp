// A worker's pieces: the algorithm of README.md, whose step numbers stand beside the lines.
#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/cpu/scores.hpp"
#include "attention/cpu/tokens.hpp"
#include "base/math.hpp"

namespace seesaw::attention::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLog2E = 1.44269504088896341F;

// Rows [row_begin, row_begin + count) of one KV head of one item, and their accumulators.
struct RowGroup {
  int64_t item;
  int64_t kv_head;
  int64_t row_begin;
  int64_t count;
  int64_t length;  // tokens of the item
  int64_t s_q;     // query tokens of the item
  float* output;   // [row - row_begin][output_stride]
};

// Tokens [begin, end) of one stream of an item.
struct Chunk {
  const StreamRows* rows;
  int64_t begin;
  int64_t end;
  int64_t before;   // tokens of the item before the stream's
  float key_scale;  // see Packer
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

class PieceWorker {
 public:
  PieceWorker(const Job& job, int32_t worker)
      : job_(job),
        problem_(job.problem()),
        kernel_(job.kernel),
        packed_(job.geometry.packed),
        scale_(parts_of(job.call.scale * result_scale_of(job))),
        scratch_(scratch_of(job.geometry, job.kernel, job.call.workspace, worker)),
        packer_(job, scratch_) {}

  void run(const split::Piece& piece) {
    const int64_t s_q = query_tokens(problem_, job_.call, piece.sequence);
    const int64_t rows = s_q * problem_.group();
    for (int64_t kv_head = 0; kv_head < problem_.h_kv; ++kv_head) {
      for (int64_t row = 0; row < rows; row += job_.geometry.group_rows) {
        RowGroup group{
            piece.sequence, kv_head, row, std::min(job_.geometry.group_rows, rows - row), 0, s_q,
            scratch_.output};
        run_group(piece, group);
      }
    }
  }

 private:
  void run_group(const split::Piece& piece, RowGroup& group) {
    int64_t lengths[kMostStreams] = {};
    for (size_t s = 0; s < problem_.num_streams; ++s) {
      lengths[s] = length_of(problem_, job_.call, s, group.item);
      group.length += lengths[s];
    }
    if (piece.partial >= 0) {
      group.output = partial(piece).output + partial_row(group) * packed_.output_stride;
    }
    start_rows(group);  // [1]
    const int64_t tile = job_.plan.split.tile_tokens;
    const int64_t origin = origin_of(problem_, group.length);
    Accumulators accumulators =
        job_.geometry.listed ? Accumulators::kContinue : Accumulators::kStart;
    int64_t tiles_before = 0;
    int64_t tokens_before = 0;
    for (size_t s = 0; s < problem_.num_streams; ++s) {
      const int64_t begin = origin + std::max(piece.tile_begin - tiles_before, int64_t{0}) * tile;
      const int64_t end = std::min(origin + (piece.tile_end - tiles_before) * tile, lengths[s]);
      const StreamRows rows(job_, s, group.item, group.kv_head);
      run_tokens(group, {&rows, begin, end, tokens_before, key_scale_of(s), accumulators});
      accumulators = Accumulators::kContinue;
      tiles_before += ceil_div(lengths[s] - origin, tile);
      tokens_before += lengths[s];
    }
    finish(piece, group);  // [6]
  }

  // All tokens of a piece that lie in one stream, a chunk at a time.
  void run_tokens(const RowGroup& group, Chunk all) {
    // Nothing has fetched the first chunk ahead, so it is short; each one after is twice as long.
    const int64_t first = std::min(kernel_.chunk.first, job_.geometry.chunk_tokens);
    Chunk chunk = all;
    chunk.end = std::min(all.begin + first, all.end);
    for (; chunk.begin < all.end; chunk.accumulators = Accumulators::kContinue) {
      const int64_t length = std::min(2 * (chunk.end - chunk.begin), job_.geometry.chunk_tokens);
      const int64_t next_end = std::min(chunk.end + length, all.end);
      if (job_.geometry.listed) {
        attend_listed(group, chunk, next_end);
      } else {
        attend_all(group, chunk, {chunk.rows, chunk.begin, chunk.end - chunk.begin}, next_end);
      }
      chunk.begin = chunk.end;
      chunk.end = next_end;
    }
  }

  Partial partial(const split::Piece& piece) const {
    return partial_of(job_.geometry, kernel_, job_.plan.split, job_.call.workspace, piece.partial);
  }

  int64_t partial_row(const RowGroup& group) const {
    return group.kv_head * problem_.rows() + group.row_begin;
  }

  // What a stream's keys are multiplied by as they are packed.
  float key_scale_of(size_t stream) const {
    return problem_.num_streams > 1 ? tensor_scale_of(job_, stream) : 1.0F;
  }

  // [1] packs the query rows and empties the running maximum and sum.
  void start_rows(const RowGroup& group) {
    const int64_t padded = round_up(group.count, kernel_.lanes);
    for (int64_t row = 0; row < padded; row += kernel_.lanes) {
      const void* rows[kMaxLanes] = {};
      for (int64_t lane = 0; lane < std::min(kernel_.lanes, group.count - row); ++lane) {
        rows[lane] =
            query_row(place_of(problem_, group.item, partial_row(group) + row + lane), lane);
      }
      uint32_t* words = scratch_.query + row / kernel_.lanes * packed_.query_vector_stride;
      kernel_.pack_query(packed_, rows, problem_.q_type, words);
      if (scale_.of_query != 1.0F) {
        scale_words(kernel_, packed_.depth_blocks * packed_.depth_block_words * kernel_.lanes,
                    scale_.of_query, words);
      }
    }
    std::fill_n(scratch_.maximum, padded, -kInfinity);
    std::fill_n(scratch_.sum, padded, 0.0F);
    if (job_.geometry.max_logits) {
      std::fill_n(scratch_.max_logits, padded, -kInfinity);
    }
    if (job_.geometry.listed) {
      std::fill_n(group.output, group.count * packed_.output_stride, 0.0F);
    }
  }

  // A row of the queries; if it comes in two parts, a copy of both, one behind the other.
  const void* query_row(const RowPlace& place, int64_t lane) const {
    const QueryPlace at = query_place(problem_, job_.call, place.item, place.token);
    const int64_t element = size_of(problem_.q_type);
    const auto row_of = [&](const Rows& rows) {
      return static_cast<const char*>(rows.data) + offset_of(rows, at, place.head) * element;
    };
    if (problem_.d_rope == 0) {
      return row_of(job_.call.q);
    }
    char* joined = scratch_.joined + lane * job_.geometry.joined_bytes;
    char* rotary = std::copy_n(row_of(job_.call.q), problem_.q_columns() * element, joined);
    std::copy_n(row_of(job_.call.q_rotary), problem_.d_rope * element, rotary);
    return joined;
  }

  // Whether a chunk's values are not packed but paired while they are accumulated. Not where some
  // row's sight ends in the chunk: accumulate_masked works on packed values.
  bool pairs_rows(const RowGroup& group, int64_t chunk_end) const {
    return group.count <= kernel_.unpacked_rows && packed_.value_vectors % 2 == 0 &&
           visible_to(group, 0) >= chunk_end;
  }

  // Tokens that a row sees of its item, where these are the first ones.
  int64_t visible_to(const RowGroup& group, int64_t row) const {
    const int64_t token = (group.row_begin + row) / problem_.group();
    return sight_of(problem_.masks, group.length, group.s_q, token).end;
  }

  // All rows attend the tokens of `list`, which are the chunk's, or those of it that there are.
  // Where they are not listed, rows may see only the first of them.
  void attend_all(const RowGroup& group, const Chunk& chunk, const TokenList& list,
                  int64_t next_end) {
    const bool whole = list.slots != nullptr;  // what is listed, all rows see
    const bool paired = pairs_rows(group, whole ? 0 : chunk.before + chunk.end);
    const PackedTokens tokens = packer_.pack(list, paired, chunk.key_scale);  // [2]
    const NextRows next =
        chunk.rows->in_pages() ? packer_.next_rows(*chunk.rows, chunk.end, next_end) : NextRows{};
    // Last rows first: later query tokens see more, and accumulate_masked narrows the values.
    for (int64_t row = (group.count - 1) / kRowBlock * kRowBlock; row >= 0; row -= kRowBlock) {
      const bool masked = !whole && visible_to(group, row) < chunk.before + chunk.end;
      attend(group, {row, std::min(kRowBlock, group.count - row), masked, paired}, chunk, tokens,
             row == 0 ? next : NextRows{});
    }
  }

  struct RowBlock {
    int64_t row;  // of the group
    int64_t count;
    bool masked;  // some row does not see all tokens
    bool paired;
  };

  // [3][4][5] one block of rows attends a chunk.
  void attend(const RowGroup& group, const RowBlock& block, const Chunk& chunk,
              const PackedTokens& tokens, const NextRows& next) {
    const int64_t row = block.row;
    const int64_t vectors = ceil_div(block.count, kernel_.lanes);
    const int64_t first_vector = row / kernel_.lanes;
    kernel_.scores(packed_, {scratch_.query + first_vector * packed_.query_vector_stride, tokens,
                             vectors, scratch_.scores, next});  // [3]
    if (kernel_.values_follow_scores &&
        row + block.count == group.count) {  // the first block of the chunk
      kernel_.pack_values(packed_, tokens, 0);
    }
    if (block.masked) {
      for (int64_t r = 0; r < vectors * kernel_.lanes; ++r) {
        const int64_t visible = visible_to(group, std::min(row + r, group.count - 1));
        scratch_.visible[r] = static_cast<int32_t>(
            std::clamp<int64_t>(visible - chunk.before - chunk.begin, 0, tokens.count));
      }
    }
    softmax(row, vectors, tokens.count, block.masked);  // [4]
    AccumulateTask task{scratch_.weights,
                        tokens.values,
                        tokens.count,
                        0,
                        block.count,
                        scratch_.rescale,
                        group.output + row * packed_.output_stride,
                        chunk.accumulators,
                        block.paired ? &tokens : nullptr,
                        next};
    if (block.masked) {
      accumulate_masked(group, row, tokens, task);
    } else {
      kernel_.accumulate(packed_, task);  // [5]
    }
  }

  // [4] of row vectors from row `row` of the group on; `masked`: by scratch_.visible.
  void softmax(int64_t row, int64_t vectors, int64_t tokens, bool masked) {
    float scale = scale_.of_scores;
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t lane = v * kernel_.lanes;
      float* scores = scratch_.scores + v * packed_.score_vector_stride;
      const int32_t* visible = masked ? scratch_.visible + lane : nullptr;
      if (job_.call.soft_cap != 0.0F) {
        cap_scores(scores, tokens * kernel_.lanes, scale_.of_scores, job_.call.soft_cap);
        scale = 1.0F;
      }
      if (job_.geometry.max_logits) {
        note_largest({scores, tokens, kernel_.lanes, visible}, scale,
                     scratch_.max_logits + row + lane);
      }
      kernel_.softmax({scores, scratch_.weights + v * packed_.weight_vector_stride, tokens, visible,
                       scale * kLog2E, scratch_.maximum + row + lane, scratch_.sum + row + lane,
                       scratch_.rescale + lane});
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
      const int64_t last_in_item = group.row_begin + row + end - 1;
      const int64_t first_in_item = last_in_item / problem_.group() * problem_.group();
      task.row_end = end;
      task.row_begin = std::max<int64_t>(first_in_item - group.row_begin - row, 0);
      task.tokens = scratch_.visible[end - 1];
      packer_.clear_values(tokens, task.tokens, values_end);
      values_end = task.tokens;
      kernel_.accumulate(packed_, task);
      end = task.row_begin;
    }
  }

  // What the rows of a group see of a chunk.
  enum class Seen { kNothing, kAll, kParts };

  Seen seen_of(const RowGroup& group, const Chunk& chunk) const {
    const int64_t begin = chunk.before + chunk.begin;
    const int64_t end = chunk.before + chunk.end;
    const Sight first =
        sight_of(problem_.masks, group.length, group.s_q, group.row_begin / problem_.group());
    const Sight last = sight_of(problem_.masks, group.length, group.s_q,
                                (group.row_begin + group.count - 1) / problem_.group());
    // Later query tokens begin and end later.
    if (first.begin >= end || last.end <= begin) {
      return Seen::kNothing;
    }
    const bool in_tree = job_.call.tree_mask != nullptr && end > group.length - group.s_q;
    return last.begin <= begin && first.end >= end && !in_tree ? Seen::kAll : Seen::kParts;
  }

  // A chunk of which some tokens may not be there, or some rows may not see some.
  void attend_listed(const RowGroup& group, const Chunk& chunk, int64_t next_end) {
    const Seen seen = seen_of(group, chunk);
    if (seen == Seen::kNothing) {
      return;
    }
    if (seen == Seen::kParts) {
      return attend_parts(group, chunk);
    }
    TokenList list{chunk.rows, chunk.begin, chunk.end - chunk.begin};
    if (!chunk.rows->in_pages()) {
      list.count = list_slots(chunk, [](int64_t) { return true; });
      list.slots = scratch_.slots;
    }
    if (list.count > 0) {
      attend_all(group, chunk, list, next_end);
    }
  }

  // Lists the slots of the chunk's tokens that are there and that sees(position) admits; returns
  // how many there are.
  template <typename Sees>
  int64_t list_slots(const Chunk& chunk, Sees sees) const {
    int64_t count = 0;
    for (int64_t token = chunk.begin; token < chunk.end; ++token) {
      const int64_t slot = sees(chunk.before + token) ? chunk.rows->slot_of(token) : -1;
      scratch_.slots[count] = slot;
      count += slot >= 0 ? 1 : 0;
    }
    return count;
  }

  // Each query token's rows attend what it sees of the chunk, packed for it alone: what is not seen
  // is not there, whatever it holds.
  void attend_parts(const RowGroup& group, const Chunk& chunk) {
    for (int64_t row = 0; row < group.count;) {
      const int64_t token = (group.row_begin + row) / problem_.group();
      const int64_t end = std::min((token + 1) * problem_.group() - group.row_begin, group.count);
      const Sight sight = sight_of(problem_.masks, group.length, group.s_q, token);
      const uint8_t* tree = tree_row(problem_, job_.call, group.item, token);
      const int64_t count = list_slots(chunk, [&](int64_t position) {
        return position >= sight.begin && position < sight.end &&
               (tree == nullptr || tree_allows(tree, group.length, group.s_q, position));
      });
      if (count > 0) {
        attend_rows(group, row, end, {chunk.rows, 0, count, scratch_.slots}, chunk.key_scale);
      }
      row = end;
    }
  }

  // Rows [begin, end) of the group, and no others, attend all of the list.
  void attend_rows(const RowGroup& group, int64_t begin, int64_t end, const TokenList& list,
                   float key_scale) {
    const PackedTokens tokens = packer_.pack(list, false, key_scale);  // [2]
    bool values_follow = kernel_.values_follow_scores;
    for (int64_t row = begin / kernel_.lanes * kernel_.lanes; row < end; row += kRowBlock) {
      const int64_t vectors = ceil_div(std::min(end - row, kRowBlock), kernel_.lanes);
      kernel_.scores(packed_, {scratch_.query + row / kernel_.lanes * packed_.query_vector_stride,
                               tokens,
                               vectors,
                               scratch_.scores,
                               {}});  // [3]
      if (values_follow) {
        kernel_.pack_values(packed_, tokens, 0);
        values_follow = false;
      }
      for (int64_t r = 0; r < vectors * kernel_.lanes; ++r) {  // a vector may have others' rows
        const bool mine = row + r >= begin && row + r < end;
        scratch_.visible[r] = static_cast<int32_t>(mine ? tokens.count : 0);
      }
      softmax(row, vectors, tokens.count, true);  // [4]
      kernel_.accumulate(packed_, {scratch_.weights,
                                   tokens.values,
                                   tokens.count,
                                   std::max<int64_t>(begin - row, 0),
                                   std::min(end - row, vectors * kernel_.lanes),
                                   scratch_.rescale,
                                   group.output + row * packed_.output_stride,
                                   Accumulators::kContinue,
                                   nullptr,
                                   {}});  // [5]
    }
  }

  // [6] hands over what the rows have: results, or the partial's numbers.
  void finish(const split::Piece& piece, const RowGroup& group) {
    if (piece.partial >= 0) {
      const Partial slot = partial(piece);
      std::copy_n(scratch_.maximum, group.count, slot.maximum + partial_row(group));
      std::copy_n(scratch_.sum, group.count, slot.sum + partial_row(group));
      if (job_.geometry.max_logits) {
        std::copy_n(scratch_.max_logits, group.count, slot.max_logits + partial_row(group));
      }
      return;
    }
    for (int64_t row = 0; row < group.count; ++row) {
      store_result(job_, place_of(problem_, group.item, partial_row(group) + row),
                   {group.output + row * packed_.output_stride, scratch_.maximum[row],
                    scratch_.sum[row], job_.geometry.max_logits ? scratch_.max_logits[row] : 0});
    }
  }

  const Job& job_;
  const Problem& problem_;
  const Microkernel& kernel_;
  const PackedLayout& packed_;
  const ScaleParts scale_;
  const Scratch scratch_;
  const Packer packer_;
};

}  // namespace

void do_pieces(const Job& job, int32_t worker) {
  const InUse kernel(job.kernel);
  PieceWorker state(job, worker);
  const split::WorkerPieces* pieces = job.schedule.worker_pieces + worker;
  for (int32_t piece = pieces->begin; piece < pieces->end; ++piece) {
    state.run(job.schedule.pieces[piece]);
  }
}

}  // namespace seesaw::attention::cpu
