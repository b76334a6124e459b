// The definition of dense decoding, read aloud in double precision. Slow on purpose: nothing is
// tiled, split, reordered or shared with another kernel. The numbers refer to README.md.
#include "ops/dense_decode/reference/dense_decode.hpp"

#include <omp.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>
#include <vector>

#include "base/float16.hpp"
#include "base/fork.hpp"
#include "base/math.hpp"
#include "core/cache_format.hpp"
#include "ops/dense_decode/reference/exact.hpp"

namespace seesaw::dense_decode::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kColumnsAtOnce = 512;  // of the output, held on the stack
constexpr int64_t kTileTokens = 64;      // only what `plan` shows: this kernel knows no tiles

// Which row of the output: one query token of one head of one sequence.
struct Row {
  int64_t sequence;
  int64_t token;  // of s_q
  int64_t head;
};

template <typename T>
const T* element(const Tensor& view, int64_t i0, int64_t i1, int64_t i2) {
  return static_cast<const T*>(view.data) + i0 * view.stride[0] + i1 * view.stride[1] +
         i2 * view.stride[2];
}

// One row's query and the way to its keys.
template <typename Query>
struct RowInput {
  const DenseDecodeProblem& problem;
  const Args& args;
  const CacheFormat& format;
  double tensor_scale;
  Row row;
  int64_t visible;

  // Reads the key of token t, [d_qk]; its first d_v numbers are the value.
  void read_key(int64_t t, double* key) const {
    const int64_t page =
        *element<int32_t>(args.block_table, row.sequence, t / problem.page_size, 0);
    const auto* first =
        static_cast<const std::byte*>(args.kv_cache.data) +
        (page * problem.kv_page_stride + row.head / problem.group() * problem.kv_head_stride) *
            element_bytes(args.kv_cache);
    read_record(format,
                record_at(format, first, problem.page_size,
                          row_stride_bytes(format, problem.kv_token_stride), t % problem.page_size),
                tensor_scale, key);
  }

  // [1] score of a key. Eight sums side by side, added in a fixed order, let the compiler vectorise
  // what must otherwise be one long chain of additions.
  double score(const double* key) const {
    const Query* q = element<Query>(args.q, row.sequence, row.token, row.head);
    double sums[8] = {};
    int64_t c = 0;
    for (; c + 8 <= problem.d_qk; c += 8) {
      for (int lane = 0; lane < 8; ++lane) {
        sums[lane] += static_cast<double>(to_float(q[c + lane])) * key[c + lane];
      }
    }
    for (; c < problem.d_qk; ++c) {
      sums[0] += static_cast<double>(to_float(q[c])) * key[c];
    }
    const double low = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    const double high = (sums[4] + sums[5]) + (sums[6] + sums[7]);
    return static_cast<double>(args.scale) * (low + high);
  }
};

// [2] greatest score, or NaN if any score is. -inf if there is none, or all are -inf.
template <typename Input>
double greatest_score(const Input& input, double* key) {
  double greatest = -kInfinity;
  for (int64_t t = 0; t < input.visible; ++t) {
    input.read_key(t, key);
    const double score = input.score(key);
    if (std::isnan(score)) {
      return kNaN;
    }
    greatest = std::max(greatest, score);
  }
  return greatest;
}

// [3][4] columns [begin, end) of the output; returns the sum of the weights.
template <typename Input>
double weighted_values(const Input& input, double greatest, int64_t begin, int64_t end, double* key,
                       double* out) {
  std::fill(out, out + (end - begin), 0.0);
  double weight_sum = 0.0;
  for (int64_t t = 0; t < input.visible; ++t) {
    input.read_key(t, key);
    const double weight = std::exp(input.score(key) - greatest);
    weight_sum += weight;
    for (int64_t c = begin; c < end; ++c) {
      out[c - begin] += weight * key[c];
    }
  }
  for (int64_t c = begin; c < end; ++c) {
    out[c - begin] /= weight_sum;
  }
  return weight_sum;
}

// Computes one row and hands it to `sink`.
template <typename Input, typename Sink>
void attend(const Input& input, double* key, const Sink& sink) {
  const DenseDecodeProblem& problem = input.problem;
  const double greatest = greatest_score(input, key);
  const bool empty = greatest == -kInfinity;
  const bool poisoned = std::isnan(greatest);
  double lse = poisoned ? kNaN : -kInfinity;
  if (empty && problem.lse_if_empty() == EmptyLse::kPositiveInfinity) {
    lse = kInfinity;
  }
  double out[kColumnsAtOnce];
  for (int64_t begin = 0; begin < problem.d_v; begin += kColumnsAtOnce) {
    const int64_t end = std::min(begin + kColumnsAtOnce, problem.d_v);
    if (empty || poisoned) {
      std::fill(out, out + (end - begin), empty ? 0.0 : kNaN);
    } else {
      const double weight_sum = weighted_values(input, greatest, begin, end, key, out);
      lse = greatest + std::log(weight_sum);  // [5]
    }
    sink.store_out(input.row, begin, end, out);
  }
  if (problem.lse() == LseBase::kTwo) {
    lse /= std::log(2.0);
  }
  sink.store_lse(input.row, lse);
}

// A key for each thread, in the call's workspace.
struct Scratch {
  double* keys;  // [num_threads][d_qk]
  int32_t num_threads;
};

uint64_t scratch_bytes(const DenseDecodeProblem& problem, int32_t num_threads) {
  return static_cast<uint64_t>(num_threads) * static_cast<uint64_t>(problem.d_qk) * sizeof(double);
}

// Every row of the call. Rows are independent, so threads change no bit.
template <typename Query, typename Sink>
void attend_all(const DenseDecodeProblem& problem, const Args& args, const Scratch& scratch,
                const Sink& sink) {
  const CacheFormat format = problem.format();
  const double tensor_scale = kv_scale_of(args);
  const int64_t rows = batch_of(args) * problem.s_q * problem.h_q;
#pragma omp parallel num_threads(threads_here(scratch.num_threads))
  {
    double* key = scratch.keys + omp_get_thread_num() * problem.d_qk;
#pragma omp for schedule(dynamic)
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t token_of_batch = r / problem.h_q;
      const Row row{token_of_batch / problem.s_q, token_of_batch % problem.s_q, r % problem.h_q};
      const int64_t visible =
          visible_tokens(length_of(args, row.sequence), problem.s_q, row.token, problem.mask());
      attend(RowInput<Query>{problem, args, format, tensor_scale, row, visible}, key, sink);
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

// Writes the caller's output tensors.
template <typename Out>
struct TensorSink {
  const Args& args;

  void store_out(const Row& row, int64_t begin, int64_t end, const double* values) const {
    const Tensor& view = args.out;
    Out* out = static_cast<Out*>(view.data) + row.sequence * view.stride[0] +
               row.token * view.stride[1] + row.head * view.stride[2];
    for (int64_t c = begin; c < end; ++c) {
      out[c] = from_float<Out>(static_cast<float>(values[c - begin]));
    }
  }

  void store_lse(const Row& row, double value) const {
    const Tensor& view = args.lse;
    if (view.data == nullptr) {
      return;
    }
    float* lse = static_cast<float*>(view.data) + row.sequence * view.stride[0] +
                 row.head * view.stride[1] + row.token * view.stride[2];
    *lse = static_cast<float>(value);
  }
};

// Writes packed doubles.
struct ExactSink {
  const DenseDecodeProblem& problem;
  const ExactResults& results;

  void store_out(const Row& row, int64_t begin, int64_t end, const double* values) const {
    const int64_t index = (row.sequence * problem.s_q + row.token) * problem.h_q + row.head;
    std::copy(values, values + (end - begin), results.out + index * problem.d_v + begin);
  }

  void store_lse(const Row& row, double value) const {
    results.lse[(row.sequence * problem.h_q + row.head) * problem.s_q + row.token] = value;
  }
};

}  // namespace

Support supports(const DenseDecodeProblem&, const Options&) { return Support::yes(); }

Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan) {
  const int64_t max_tokens = std::min<int64_t>(problem.max_tokens(), INT32_MAX);  // of an int32
  const int64_t max_tiles = ceil_div(max_tokens, kTileTokens);
  plan->problem = problem;
  plan->options = options;
  plan->split.max_batch = static_cast<int32_t>(problem.batch);
  plan->split.num_workers = 1;  // nothing is split
  plan->split.tile_tokens = static_cast<int32_t>(kTileTokens);
  plan->split.max_sequence_tiles = static_cast<int32_t>(max_tiles);
  if (options.batch_invariant) {
    plan->split.fixed_split_tiles = static_cast<int32_t>(std::max<int64_t>(max_tiles, 1));
  }
  plan->tile_rows = 1;
  plan->workspace_bytes = scratch_bytes(problem, options.num_threads);
  return finish_plan(knobs, plan);
}

Status run(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  with_type(plan.problem.q_type(), [&](auto query) {
    const Scratch scratch{static_cast<double*>(call.workspace), plan.options.num_threads};
    attend_all<decltype(query)>(plan.problem, args, scratch, TensorSink<decltype(query)>{args});
  });
  return {};
}

void dense_decode_exact(const DenseDecodeProblem& problem, const Args& args, int32_t num_threads,
                        const ExactResults& results) {
  std::vector<double> keys(scratch_bytes(problem, num_threads) / sizeof(double));
  with_type(problem.q_type(), [&](auto query) {
    attend_all<decltype(query)>(problem, args, {keys.data(), num_threads},
                                ExactSink{problem, results});
  });
}

}  // namespace seesaw::dense_decode::reference
