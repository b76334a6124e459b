// The definition of attention, read aloud in double precision. Slow on purpose: nothing is tiled,
// split, reordered or shared with another core. The numbers refer to README.md.
#include "attention/reference/attention.hpp"

#include <omp.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/host.hpp"
#include "base/float16.hpp"
#include "base/fork.hpp"
#include "base/math.hpp"

namespace seesaw::attention::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kColumnsAtOnce = 512;  // of the output, held on the stack
constexpr int32_t kTileTokens = 64;      // only what `plan` shows: this core knows no tiles

// Which row of the output: one query token of one head.
struct Row {
  int64_t item;
  int64_t token;  // of the item
  int64_t head;
  QueryPlace place;  // of the token in the caller's memory
};

// One row's query and the way to its keys.
template <typename Query>
class RowInput {
 public:
  // `query`: room for d_qk numbers.
  RowInput(const Problem& problem, const Call& call, const Row& row, double* query)
      : problem_(problem),
        call_(call),
        row_(row),
        query_(query),
        s_q_(query_tokens(problem, call, row.item)),
        tree_(tree_row(problem, call, row.item, row.token)) {
    for (size_t s = 0; s < problem.num_streams; ++s) {
      lengths_[s] = length_of(problem, call, s, row.item);
    }
    read_part(call.q, problem.q_columns(), query);
    read_part(call.q_rotary, problem.d_rope, query + problem.q_columns());
  }

  const Problem& problem() const { return problem_; }
  const Row& row() const { return row_; }

  // Calls visit(key) for every token that the row sees and that is there, in order; the first d_v
  // numbers of a key are the value. Stops if it returns false.
  template <typename Visit>
  void for_each_key(double* key, Visit visit) const {
    const int64_t length = lengths_[0] + lengths_[1];
    const Sight sight = sight_of(problem_.masks, length, s_q_, row_.token);
    for (int64_t position = sight.begin; position < sight.end; ++position) {
      if (tree_ != nullptr && !tree_allows(tree_, length, s_q_, position)) {
        continue;
      }
      const size_t stream = position < lengths_[0] ? 0 : 1;
      if (read_key(stream, position - (stream == 0 ? 0 : lengths_[0]), key) && !visit(key)) {
        return;
      }
    }
  }

  // [1] score of a key. Eight sums side by side, added in a fixed order, let the compiler vectorise
  // what must otherwise be one long chain of additions.
  double score(const double* key) const {
    double sums[8] = {};
    int64_t c = 0;
    for (; c + 8 <= problem_.d_qk; c += 8) {
      for (int lane = 0; lane < 8; ++lane) {
        sums[lane] += query_[c + lane] * key[c + lane];
      }
    }
    for (; c < problem_.d_qk; ++c) {
      sums[0] += query_[c] * key[c];
    }
    const double low = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    const double high = (sums[4] + sums[5]) + (sums[6] + sums[7]);
    const double scaled = static_cast<double>(call_.scale) * (low + high);
    const double cap = static_cast<double>(call_.soft_cap);
    return cap == 0.0 ? scaled : cap * std::tanh(scaled / cap);
  }

  // What the row's output is multiplied by for its head's sink.
  double sink_factor(double lse) const {
    return call_.sinks != nullptr
               ? 1.0 / (1.0 + std::exp(static_cast<double>(call_.sinks[row_.head]) - lse))
               : 1.0;
  }

 private:
  // The row's `count` columns of one part of the queries.
  void read_part(const Rows& rows, int64_t count, double* to) const {
    if (count > 0) {
      const auto* from =
          static_cast<const Query*>(rows.data) + offset_of(rows, row_.place, row_.head);
      std::transform(from, from + count, to,
                     [](Query value) { return static_cast<double>(to_float(value)); });
    }
  }

  // Reads token t of a stream, [d_qk], if it is there.
  bool read_key(size_t s, int64_t t, double* key) const {
    const StreamShape& shape = problem_.streams[s];
    const Stream& stream = call_.streams[s];
    const int64_t slot = slot_of(shape, stream, ids_of(problem_, stream, row_.item), t);
    if (slot < 0) {
      return false;
    }
    const auto* page = static_cast<const std::byte*>(stream.cache) +
                       slot / shape.page_size * stream.page_stride_bytes +
                       row_.head / problem_.group() * stream.head_stride_bytes;
    read_record(shape.format,
                record_at(shape.format, page, shape.page_size, stream.row_stride_bytes,
                          slot % shape.page_size),
                static_cast<double>(scale_of(stream)), key);
    return true;
  }

  const Problem& problem_;
  const Call& call_;
  const Row row_;
  const double* query_;  // both its parts, [d_qk]
  const int64_t s_q_;
  const uint8_t* tree_;  // its row of the tree mask; null: none
  int64_t lengths_[kMostStreams] = {};
};

// [2] greatest score, or NaN if any score is. -inf if there is none, or all are -inf.
template <typename Input>
double greatest_score(const Input& input, double* key) {
  double greatest = -kInfinity;
  input.for_each_key(key, [&](const double* of_token) {
    const double score = input.score(of_token);
    greatest = std::isnan(score) ? kNaN : std::max(greatest, score);
    return !std::isnan(score);
  });
  return greatest;
}

// [3][4] columns [begin, end) of the output; returns the sum of the weights.
template <typename Input>
double weighted_values(const Input& input, double greatest, int64_t begin, int64_t end, double* key,
                       double* out) {
  std::fill(out, out + (end - begin), 0.0);
  double weight_sum = 0.0;
  input.for_each_key(key, [&](const double* of_token) {
    const double weight = std::exp(input.score(of_token) - greatest);
    weight_sum += weight;
    for (int64_t c = begin; c < end; ++c) {
      out[c - begin] += weight * of_token[c];
    }
    return true;
  });
  for (int64_t c = begin; c < end; ++c) {
    out[c - begin] /= weight_sum;
  }
  return weight_sum;
}

// Computes one row and hands it to `sink`.
template <typename Input, typename Sink>
void attend(const Input& input, double* key, const Sink& sink) {
  const Problem& problem = input.problem();
  const double greatest = greatest_score(input, key);
  const bool empty = greatest == -kInfinity;
  const bool poisoned = std::isnan(greatest);
  double lse = poisoned ? kNaN : -kInfinity;
  if (empty && problem.empty_lse == EmptyLse::kPositiveInfinity) {
    lse = kInfinity;
  }
  double out[kColumnsAtOnce];
  for (int64_t begin = 0; begin < problem.d_v; begin += kColumnsAtOnce) {
    const int64_t end = std::min(begin + kColumnsAtOnce, problem.d_v);
    if (empty || poisoned) {
      std::fill(out, out + (end - begin), empty ? 0.0 : kNaN);
    } else {
      const double weight_sum = weighted_values(input, greatest, begin, end, key, out);
      lse = greatest + std::log(weight_sum);         // [5]
      const double factor = input.sink_factor(lse);  // [6]
      std::for_each(out, out + (end - begin), [factor](double& value) { value *= factor; });
    }
    sink.store_out(input.row(), begin, end, out);
  }
  if (problem.lse_base == LseBase::kTwo) {
    lse /= std::log(2.0);
  }
  sink.store_lse(input.row(), lse);
  sink.store_max_logit(input.row(), greatest);
}

// A query and a key for each thread, in the call's workspace.
struct Scratch {
  double* rows;  // [num_threads][2][d_qk]
  int32_t num_threads;
};

uint64_t scratch_bytes(const Problem& problem, int32_t num_threads) {
  return 2 * static_cast<uint64_t>(num_threads) * static_cast<uint64_t>(problem.d_qk) *
         sizeof(double);
}

// Every row of the call. Rows are independent, so threads change no bit.
template <typename Query, typename Sink>
void attend_all(const Problem& problem, const Call& call, const Scratch& scratch,
                const Sink& sink) {
  const int64_t item_rows = problem.s_q * problem.h_q;
#pragma omp parallel num_threads(threads_here(scratch.num_threads))
  {
    double* query = scratch.rows + 2 * omp_get_thread_num() * problem.d_qk;
    double* key = query + problem.d_qk;
#pragma omp for schedule(dynamic)
    for (int64_t r = 0; r < call.items * item_rows; ++r) {
      const int64_t item = r / item_rows;
      const int64_t token = r % item_rows / problem.h_q;
      if (token < query_tokens(problem, call, item)) {
        const Row row{item, token, r % problem.h_q, query_place(problem, call, item, token)};
        attend(RowInput<Query>(problem, call, row, query), key, sink);
      }
    }
  }
}

// Calls visit with a value of the C++ type that `dtype` names.
template <typename Visit>
void with_type(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(float{});
    case DType::kBFloat16:
      return visit(BFloat16{});
    case DType::kFloat16:
      return visit(Float16{});
    default:
      return;  // validation admits no such query
  }
}

// Writes the caller's memory.
template <typename Out>
struct CallSink {
  const Call& call;

  void store_out(const Row& row, int64_t begin, int64_t end, const double* values) const {
    Out* out = static_cast<Out*>(call.out.data) + offset_of(call.out, row.place, row.head);
    for (int64_t c = begin; c < end; ++c) {
      out[c] = from_float<Out>(static_cast<float>(values[c - begin]));
    }
  }

  static void store_number(const Rows& rows, const Row& row, double value) {
    if (rows.data != nullptr) {
      static_cast<float*>(rows.data)[offset_of(rows, row.place, row.head)] =
          static_cast<float>(value);
    }
  }
  void store_lse(const Row& row, double value) const { store_number(call.lse, row, value); }
  void store_max_logit(const Row& row, double value) const {
    store_number(call.max_logits, row, value);
  }
};

// Writes packed doubles.
struct ExactSink {
  const Problem& problem;
  int64_t query_tokens;  // of a sequence
  const ExactResults& results;

  void store_out(const Row& row, int64_t begin, int64_t end, const double* values) const {
    const int64_t index =
        (row.place.sequence * query_tokens + row.place.token) * problem.h_q + row.head;
    std::copy(values, values + (end - begin), results.out + index * problem.d_v + begin);
  }

  int64_t number_at(const Row& row) const {
    return (row.place.sequence * problem.h_q + row.head) * query_tokens + row.place.token;
  }
  void store_lse(const Row& row, double value) const { results.lse[number_at(row)] = value; }
  void store_max_logit(const Row& row, double value) const {
    if (results.max_logits != nullptr) {
      results.max_logits[number_at(row)] = value;
    }
  }
};

}  // namespace

Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  plan->attention = problem;
  plan->options = options;
  plan->split = split_config_of(problem, kTileTokens, 1);  // nothing is split
  if (options.batch_invariant) {
    plan->split.fixed_split_tiles = std::max(plan->split.max_sequence_tiles, 1);
  }
  plan->tile_rows = 1;
  plan->workspace_bytes = scratch_bytes(problem, options.num_threads);
  return finish_plan(knobs, plan);
}

void run(const Plan& plan, const Call& call) {
  with_type(plan.attention.q_type, [&](auto query) {
    const Scratch scratch{static_cast<double*>(call.workspace), plan.options.num_threads};
    attend_all<decltype(query)>(plan.attention, call, scratch, CallSink<decltype(query)>{call});
  });
}

void exact(const Problem& problem, const Call& call, int64_t query_tokens, int32_t num_threads,
           const ExactResults& results) {
  std::vector<double> rows(scratch_bytes(problem, num_threads) / sizeof(double));
  with_type(problem.q_type, [&](auto query) {
    attend_all<decltype(query)>(problem, call, {rows.data(), num_threads},
                                ExactSink{problem, query_tokens, results});
  });
}

}  // namespace seesaw::attention::reference
