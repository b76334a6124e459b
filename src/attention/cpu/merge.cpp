// Results: finished rows to the caller's memory, and split items merged from their partials.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "attention/cpu/job.hpp"
#include "attention/cpu/scores.hpp"
#include "base/math.hpp"

namespace seesaw::attention::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kLn2 = 0.693147180559945309;
constexpr int64_t kMostMergeRows = 4;  // what a worker takes at a time

float lse_of(const Problem& problem, float maximum, float sum) {
  if (sum == 0.0F) {
    return problem.empty_lse == EmptyLse::kPositiveInfinity ? kInfinity : -kInfinity;
  }
  const double log2_lse = static_cast<double>(maximum) + std::log2(static_cast<double>(sum));
  return static_cast<float>(problem.lse_base == LseBase::kTwo ? log2_lse : log2_lse * kLn2);
}

// What a row's output is divided by: its sum, and what the sink weighs in units of 2^maximum.
float divisor_of(const Job& job, int64_t head, const RowState& row) {
  if (job.call.sinks == nullptr) {
    return row.sum;
  }
  const double sink = std::exp2(static_cast<double>(job.call.sinks[head]) / kLn2 -
                                static_cast<double>(row.maximum));
  return static_cast<float>(static_cast<double>(row.sum) + sink);
}

// One float of `rows`.
void store_number(const Job& job, const Rows& rows, const RowPlace& place, float number) {
  static_cast<float*>(rows.data)[offset_of(
      rows, query_place(job.problem(), job.call, place.item, place.token), place.head)] = number;
}

// Merges row `row` of the item whose partials are pieces [begin, end), in tile order.
void merge_row(const Job& job, const split::Piece* begin, const split::Piece* end, int64_t row,
               float* merged) {
  const auto slot = [&](const split::Piece* piece) {
    return partial_of(job.geometry, job.kernel, job.plan.split, job.call.workspace, piece->partial);
  };
  const Problem& problem = job.problem();
  const RowPlace place = place_of(problem, begin->sequence, row);
  const int64_t s_q = query_tokens(problem, job.call, place.item);
  if (place.token >= s_q) {
    return;  // a row that this item has not
  }
  float maximum = -kInfinity;
  for (const split::Piece* piece = begin; piece < end; ++piece) {
    maximum = std::max(maximum, slot(piece).maximum[row]);
  }
  // As in the softmax: no attended token at all must give weights of 0, not NaN.
  const float origin = maximum == -kInfinity ? 0.0F : maximum;
  const int64_t stride = job.geometry.packed.output_stride;
  // Of a piece that the row sees nothing of, there is no output to read. One of which all scores
  // are -inf has output, of weight 0: it may have met infinite values.
  const int64_t visible =
      job.geometry.listed  // then every output begins with zeros
          ? INT64_MAX
          : sight_of(problem.masks, length_of(problem, job.call, 0, place.item), s_q, place.token)
                .end;
  const int64_t columns = job.geometry.packed.value_vectors * job.kernel.lanes;
  float sum = 0.0F;
  float max_logit = -kInfinity;
  Accumulators accumulators = Accumulators::kStart;
  for (const split::Piece* piece = begin; piece < end; ++piece) {
    const Partial partial = slot(piece);
    const float weight = std::exp2(partial.maximum[row] - origin);
    sum += weight * partial.sum[row];
    if (job.geometry.max_logits) {
      max_logit = larger_of(max_logit, partial.max_logits[row]);
    }
    if (visible > int64_t{piece->tile_begin} * job.plan.split.tile_tokens) {
      job.kernel.scale_row(partial.output + row * stride, weight, columns, accumulators, merged);
      accumulators = Accumulators::kContinue;
    }
  }
  store_result(job, place, {merged, maximum, sum, max_logit});
}

}  // namespace

float tensor_scale_of(const Job& job, size_t stream) {
  if (!job.problem().streams[stream].format.tensor_scale) {
    return 1.0F;
  }
  const float scale = job.call.streams[stream].scale;
  return std::isfinite(scale) ? scale : std::numeric_limits<float>::quiet_NaN();
}

float result_scale_of(const Job& job) {
  return job.problem().num_streams > 1 ? 1.0F : tensor_scale_of(job, 0);
}

RowPlace place_of(const Problem& problem, int64_t item, int64_t row) {
  const int64_t kv_head = row / problem.rows();
  const int64_t in_head = row % problem.rows();
  return {item, in_head / problem.group(), kv_head * problem.group() + in_head % problem.group()};
}

void store_result(const Job& job, const RowPlace& place, const RowState& row) {
  const Rows& out = job.call.out;
  const DType dtype = job.problem().q_type;
  const int64_t offset =
      offset_of(out, query_place(job.problem(), job.call, place.item, place.token), place.head);
  void* target = static_cast<char*>(out.data) + offset * size_of(dtype);
  const int64_t d_v = job.geometry.packed.d_v;
  if (row.sum == 0.0F) {
    std::memset(target, 0, static_cast<size_t>(d_v * size_of(dtype)));
  } else {
    job.kernel.store_row(row.output, result_scale_of(job) / divisor_of(job, place.head, row), d_v,
                         dtype, target);
  }
  if (job.call.lse.data != nullptr) {
    store_number(job, job.call.lse, place, lse_of(job.problem(), row.maximum, row.sum));
  }
  if (job.geometry.max_logits) {
    store_number(job, job.call.max_logits, place, row.max_logit);
  }
}

void merge_partials(const Job& job, int32_t worker) {
  float* merged = scratch_of(job.geometry, job.kernel, job.call.workspace, worker).output;
  const int64_t rows = job.geometry.total_rows;
  const int64_t workers = job.plan.split.num_workers;
  // Fewer where they would leave workers without any.
  const int64_t merge_rows = std::clamp<int64_t>(rows / workers, 1, kMostMergeRows);
  int64_t turn = 0;  // of the workers, over all split items
  for (int64_t item = 0; item < job.call.items; ++item) {
    const int32_t* bounds = job.schedule.item_piece_begin + item;
    const split::Piece* begin = job.schedule.pieces + bounds[0];
    const split::Piece* end = job.schedule.pieces + bounds[1];
    if (begin->partial < 0) {
      continue;
    }
    for (int64_t row = 0; row < rows; row += merge_rows, ++turn) {
      if (turn % workers != worker) {
        continue;
      }
      for (int64_t r = row; r < std::min(row + merge_rows, rows); ++r) {
        merge_row(job, begin, end, r, merged);
      }
    }
  }
}

}  // namespace seesaw::attention::cpu
