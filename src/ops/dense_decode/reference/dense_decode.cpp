// The definition of dense decoding, read aloud in double precision. Slow on purpose: nothing is
// tiled, split, reordered or shared with another kernel. The numbers refer to README.md.
#include "ops/dense_decode/reference/dense_decode.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>

#include "base/float16.hpp"
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
const T* element(const TensorView& view, int64_t i0, int64_t i1, int64_t i2) {
  return static_cast<const T*>(view.data) + i0 * view.stride[0] + i1 * view.stride[1] +
         i2 * view.stride[2];
}

int64_t visible_to(const DenseDecodeProblem& problem, const DenseDecodeArguments& arguments,
                   const Row& row) {
  const int32_t* seq_lens = static_cast<const int32_t*>(arguments.seq_lens.data);
  const int32_t seq_len = seq_lens[row.sequence * arguments.seq_lens.stride[0]];
  return visible_tokens(seq_len, problem.s_q, row.token, problem.mask);
}

// One row's query and the way to its keys.
template <typename Query, typename Key>
struct RowInput {
  const DenseDecodeProblem& problem;
  const DenseDecodeArguments& arguments;
  Row row;
  int64_t visible;

  // Key of token t, [d_qk]; its first d_v elements are the value.
  const Key* key(int64_t t) const {
    const int64_t page_slot = t / problem.page_size;
    const int64_t page = *element<int32_t>(arguments.block_table, row.sequence, page_slot, 0);
    return element<Key>(arguments.kv_cache, page, t % problem.page_size,
                        row.head / problem.group());
  }

  // [1] score of token t. Eight sums side by side, added in a fixed order, let the compiler
  // vectorise what must otherwise be one long chain of additions.
  double score(int64_t t) const {
    const Query* q = element<Query>(arguments.q, row.sequence, row.token, row.head);
    const Key* k = key(t);
    double sums[8] = {};
    int64_t c = 0;
    for (; c + 8 <= problem.d_qk; c += 8) {
      for (int lane = 0; lane < 8; ++lane) {
        sums[lane] +=
            static_cast<double>(to_float(q[c + lane])) * static_cast<double>(to_float(k[c + lane]));
      }
    }
    for (; c < problem.d_qk; ++c) {
      sums[0] += static_cast<double>(to_float(q[c])) * static_cast<double>(to_float(k[c]));
    }
    const double low = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    const double high = (sums[4] + sums[5]) + (sums[6] + sums[7]);
    return static_cast<double>(arguments.scale) * (low + high);
  }
};

// [2] greatest score, or NaN if any score is. -inf if there is none, or all are -inf.
template <typename Input>
double greatest_score(const Input& input) {
  double greatest = -kInfinity;
  for (int64_t t = 0; t < input.visible; ++t) {
    const double score = input.score(t);
    if (std::isnan(score)) {
      return kNaN;
    }
    greatest = std::max(greatest, score);
  }
  return greatest;
}

// [3][4] columns [begin, end) of the output; returns the sum of the weights.
template <typename Input>
double weighted_values(const Input& input, double greatest, int64_t begin, int64_t end,
                       double* out) {
  std::fill(out, out + (end - begin), 0.0);
  double weight_sum = 0.0;
  for (int64_t t = 0; t < input.visible; ++t) {
    const double weight = std::exp(input.score(t) - greatest);
    const auto* value = input.key(t);
    weight_sum += weight;
    for (int64_t c = begin; c < end; ++c) {
      out[c - begin] += weight * static_cast<double>(to_float(value[c]));
    }
  }
  for (int64_t c = begin; c < end; ++c) {
    out[c - begin] /= weight_sum;
  }
  return weight_sum;
}

// Computes one row and hands it to `sink`.
template <typename Input, typename Sink>
void attend(const Input& input, const Sink& sink) {
  const DenseDecodeProblem& problem = input.problem;
  const double greatest = greatest_score(input);
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
      const double weight_sum = weighted_values(input, greatest, begin, end, out);
      lse = greatest + std::log(weight_sum);  // [5]
    }
    sink.store_out(input.row, begin, end, out);
  }
  if (problem.lse_base == LseBase::kTwo) {
    lse /= std::log(2.0);
  }
  sink.store_lse(input.row, lse);
}

// Every row of the call. Rows are independent, so threads change no bit.
template <typename Query, typename Key, typename Sink>
void attend_all(const DenseDecodeProblem& problem, const DenseDecodeArguments& arguments,
                const Sink& sink) {
  const int64_t rows = arguments.batch * problem.s_q * problem.h_q;
  const int threads = std::max(problem.num_threads, 1);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t token_of_batch = r / problem.h_q;
    const Row row{token_of_batch / problem.s_q, token_of_batch % problem.s_q, r % problem.h_q};
    const int64_t visible = visible_to(problem, arguments, row);
    attend(RowInput<Query, Key>{problem, arguments, row, visible}, sink);
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
    case DType::kInt32:
      return;  // validation admits no such query or cache
  }
}

// Writes the caller's output tensors.
template <typename Out>
struct TensorSink {
  const DenseDecodeArguments& arguments;

  void store_out(const Row& row, int64_t begin, int64_t end, const double* values) const {
    const TensorView& view = arguments.out;
    Out* out = static_cast<Out*>(view.data) + row.sequence * view.stride[0] +
               row.token * view.stride[1] + row.head * view.stride[2];
    for (int64_t c = begin; c < end; ++c) {
      out[c] = from_float<Out>(static_cast<float>(values[c - begin]));
    }
  }

  void store_lse(const Row& row, double value) const {
    const TensorView& view = arguments.lse;
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

Support supports_dense_decode(const DenseDecodeProblem& problem) {
  if (problem.device.type != DeviceType::kCpu) {
    return Support::no("runs on the CPU only; the tensors are on a GPU");
  }
  return Support::yes();
}

DenseDecodePlan plan_dense_decode(const DenseDecodeProblem& problem) {
  const int64_t max_tokens = std::min<int64_t>(problem.max_tokens(), INT32_MAX);  // of an int32
  const int64_t max_tiles = ceil_div(max_tokens, kTileTokens);
  DenseDecodePlan plan;
  plan.problem = problem;
  plan.split.max_batch = static_cast<int32_t>(problem.batch);
  plan.split.num_workers = 1;  // nothing is split
  plan.split.tile_tokens = static_cast<int32_t>(kTileTokens);
  plan.split.max_sequence_tiles = static_cast<int32_t>(max_tiles);
  if (problem.splits == Splits::kBatchInvariant) {
    plan.split.fixed_split_tiles = static_cast<int32_t>(std::max<int64_t>(max_tiles, 1));
  }
  plan.tile_rows = 1;
  return plan;
}

Status run_dense_decode(const DenseDecodePlan& plan, const DenseDecodeArguments& arguments) {
  with_type(plan.problem.q_dtype, [&](auto query) {
    with_type(plan.problem.kv_dtype, [&](auto key) {
      attend_all<decltype(query), decltype(key)>(plan.problem, arguments,
                                                 TensorSink<decltype(query)>{arguments});
    });
  });
  return {};
}

void dense_decode_exact(const DenseDecodeProblem& problem, const DenseDecodeArguments& arguments,
                        const ExactResults& results) {
  with_type(problem.q_dtype, [&](auto query) {
    with_type(problem.kv_dtype, [&](auto key) {
      attend_all<decltype(query), decltype(key)>(problem, arguments, ExactSink{problem, results});
    });
  });
}

}  // namespace seesaw::dense_decode::reference
