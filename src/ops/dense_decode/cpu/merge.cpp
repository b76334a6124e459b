// Results: finished rows to the caller's tensors, and split sequences merged from their partials.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/math.hpp"
#include "ops/dense_decode/cpu/call.hpp"

namespace seesaw::dense_decode::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kMostMergeRows = 4;  // what a worker takes at a time

float lse_of(const DenseDecodeProblem& problem, float maximum, float sum) {
  if (sum == 0.0F) {
    return problem.lse_if_empty() == EmptyLse::kPositiveInfinity ? kInfinity : -kInfinity;
  }
  const double log2_lse = static_cast<double>(maximum) + std::log2(static_cast<double>(sum));
  constexpr double kLn2 = 0.693147180559945309;
  return static_cast<float>(problem.lse() == LseBase::kTwo ? log2_lse : log2_lse * kLn2);
}

// Merges row `row` of the sequence whose partials are pieces [begin, end), in tile order.
void merge_row(const DecodeCall& call, const split::Piece* begin, const split::Piece* end,
               int64_t row, float* merged) {
  const auto slot = [&](const split::Piece* piece) {
    return partial_of(call.geometry, call.kernel, call.plan.split, call.workspace, piece->partial);
  };
  float maximum = -kInfinity;
  for (const split::Piece* piece = begin; piece < end; ++piece) {
    maximum = std::max(maximum, slot(piece).maximum[row]);
  }
  // As in the softmax: no attended token at all must give weights of 0, not NaN.
  const float origin = maximum == -kInfinity ? 0.0F : maximum;
  const int64_t stride = call.geometry.packed.output_stride;
  const RowPlace place = place_of(call.problem(), begin->sequence, row);
  const int64_t visible = visible_tokens(length_of(call.args, place.sequence), call.problem().s_q,
                                         place.token, call.problem().mask());
  const int64_t columns = call.geometry.packed.value_vectors * call.kernel.lanes;
  float sum = 0.0F;
  Accumulators accumulators = Accumulators::kStart;
  for (const split::Piece* piece = begin; piece < end; ++piece) {
    const Partial partial = slot(piece);
    const float weight = std::exp2(partial.maximum[row] - origin);
    sum += weight * partial.sum[row];
    // Of a piece that the row sees nothing of, there is no output to read. One of which all scores
    // are -inf has output, of weight 0: it may have met infinite values.
    if (visible > int64_t{piece->tile_begin} * call.plan.split.tile_tokens) {
      call.kernel.scale_row(partial.output + row * stride, weight, columns, accumulators, merged);
      accumulators = Accumulators::kContinue;
    }
  }
  store_result(call, place, merged, maximum, sum);
}

}  // namespace

float tensor_scale_of(const DecodeCall& call) {
  if (!call.format.tensor_scale) {
    return 1.0F;
  }
  const float scale = kv_scale_of(call.args);
  return std::isfinite(scale) ? scale : std::numeric_limits<float>::quiet_NaN();
}

RowPlace place_of(const DenseDecodeProblem& problem, int64_t sequence, int64_t row) {
  const int64_t kv_head = row / problem.rows();
  const int64_t in_head = row % problem.rows();
  return {sequence, in_head / problem.group(),
          kv_head * problem.group() + in_head % problem.group()};
}

void store_result(const DecodeCall& call, const RowPlace& place, const float* output, float maximum,
                  float sum) {
  const Tensor& out = call.args.out;
  const int64_t offset =
      place.sequence * out.stride[0] + place.token * out.stride[1] + place.head * out.stride[2];
  void* target = static_cast<char*>(out.data) + offset * element_bytes(out);
  const int64_t d_v = call.geometry.packed.d_v;
  if (sum == 0.0F) {
    std::memset(target, 0, static_cast<size_t>(d_v * element_bytes(out)));
  } else {
    call.kernel.store_row(output, tensor_scale_of(call) / sum, d_v, dtype_of(out), target);
  }
  const Tensor& lse = call.args.lse;
  if (lse.data != nullptr) {
    static_cast<float*>(lse.data)[place.sequence * lse.stride[0] + place.head * lse.stride[1] +
                                  place.token * lse.stride[2]] =
        lse_of(call.problem(), maximum, sum);
  }
}

void merge_partials(const DecodeCall& call, int32_t worker) {
  float* merged = scratch_of(call.geometry, call.kernel, call.workspace, worker).output;
  const int64_t rows = call.geometry.total_rows;
  const int64_t workers = call.plan.split.num_workers;
  // Fewer where they would leave workers without any.
  const int64_t merge_rows = std::clamp<int64_t>(rows / workers, 1, kMostMergeRows);
  int64_t turn = 0;  // of the workers, over all split sequences
  for (int64_t sequence = 0; sequence < batch_of(call.args); ++sequence) {
    const int32_t* bounds = call.schedule.item_piece_begin + sequence;
    const split::Piece* begin = call.schedule.pieces + bounds[0];
    const split::Piece* end = call.schedule.pieces + bounds[1];
    if (begin->partial < 0) {
      continue;
    }
    for (int64_t row = 0; row < rows; row += merge_rows, ++turn) {
      if (turn % workers != worker) {
        continue;
      }
      for (int64_t r = row; r < std::min(row + merge_rows, rows); ++r) {
        merge_row(call, begin, end, r, merged);
      }
    }
  }
}

}  // namespace seesaw::dense_decode::cpu
