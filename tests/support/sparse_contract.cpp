#include "support/sparse_contract.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "lab/accuracy.hpp"
#include "lab/elements.hpp"
#include "lab/errors.hpp"
#include "support/guarded_buffer.hpp"

namespace seesaw::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

size_t to_size(int64_t value) { return static_cast<size_t>(value); }

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) {
    return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y) ||
           (std::isnan(x) && std::isnan(y));
  });
}

// A dimension of 1 taken out.
seesaw_tensor without(seesaw_tensor tensor, int32_t dimension) {
  for (int32_t i = dimension; i + 1 < tensor.rank; ++i) {
    tensor.shape[i] = tensor.shape[i + 1];
    tensor.stride[i] = tensor.stride[i + 1];
  }
  --tensor.rank;
  return tensor;
}

// One row of the definition.
struct ExactRow {
  std::vector<double> out;
  double lse = -kInfinity;
  double max_logit = -kInfinity;
};

ExactRow exact_row(const lab::SparseInputs& inputs, int64_t sequence, int64_t token, int64_t head) {
  std::vector<std::vector<double>> keys;
  for (const lab::ListedCache& cache : inputs.caches) {
    for (int64_t e = 0; e < cache.list_length(sequence); ++e) {
      if (const int64_t slot = cache.slot(sequence, token, e); slot >= 0) {
        keys.emplace_back(to_size(inputs.d_qk));
        cache.read(slot, keys.back().data());
      }
    }
  }
  const void* query = inputs.query(sequence, token, head);
  std::vector<double> scores;
  ExactRow row;
  row.out.assign(to_size(inputs.d_v), 0.0);
  for (const std::vector<double>& key : keys) {
    double sum = 0;
    for (size_t c = 0; c < key.size(); ++c) {
      sum += static_cast<double>(lab::load_element(query, inputs.q_dtype, c)) * key[c];
    }
    scores.push_back(sum * inputs.scale);
    if (std::isnan(scores.back()) || scores.back() > row.max_logit) {
      row.max_logit = scores.back();  // a NaN stays: nothing is greater
    }
  }
  if (row.max_logit == -kInfinity) {
    return row;
  }
  double weights = 0;
  for (size_t k = 0; k < keys.size(); ++k) {
    const double weight = std::exp(scores[k] - row.max_logit);
    weights += weight;
    for (size_t c = 0; c < row.out.size(); ++c) {
      row.out[c] += weight * keys[k][c];
    }
  }
  row.lse = row.max_logit + std::log(weights);
  const double kept = 1 / (1 + std::exp(inputs.sink(head) - row.lse));
  for (double& value : row.out) {
    value *= kept / weights;
  }
  return row;
}

}  // namespace

bool SparseResults::operator==(const SparseResults& other) const {
  return same_bits(out, other.out) && same_bits(lse, other.lse) &&
         same_bits(max_logits, other.max_logits);
}

SparseOutputs::SparseOutputs(const SparseCase& test_case)
    : out(test_case.out_bytes()),
      lse(test_case.numbers_bytes()),
      max_logits(test_case.numbers_bytes()) {}

seesaw_sparse_decode_args SparseOutputs::decode_args(const SparseCase& test_case) {
  seesaw_sparse_decode_args args = test_case.inputs();
  args.out = test_case.out_tensor(out.data());
  args.lse = test_case.numbers_tensor(lse.data());
  args.max_logits = test_case.numbers_tensor(max_logits.data());
  return args;
}

seesaw_sparse_prefill_args SparseOutputs::prefill_args(const SparseCase& test_case) {
  seesaw_sparse_prefill_args args = test_case.prefill_inputs();
  args.out = without(test_case.out_tensor(out.data()), 1);
  args.lse = without(test_case.numbers_tensor(lse.data()), 2);
  args.max_logits = without(test_case.numbers_tensor(max_logits.data()), 2);
  return args;
}

SparseResults SparseOutputs::results(const SparseSpec& spec) const {
  SparseResults found;
  const int64_t pitch = spec.d_v + spec.out_gap;
  const size_t rows = to_size(spec.batch * spec.s_q * spec.h_q);
  for (size_t i = 0; i < rows * to_size(pitch); ++i) {
    if (static_cast<int64_t>(i) % pitch < spec.d_v) {
      found.out.push_back(static_cast<double>(lab::load_element(out.data(), spec.q_dtype, i)));
      continue;
    }
    const size_t size = lab::size_of(spec.q_dtype);
    for (size_t byte = i * size; byte < (i + 1) * size; ++byte) {
      EXPECT_EQ(out.data()[byte], GuardedBuffer::kPoisonByte) << describe(spec);
    }
  }
  for (size_t i = 0; i < rows; ++i) {
    found.lse.push_back(static_cast<double>(lab::load_element(lse.data(), SEESAW_FLOAT32, i)));
    found.max_logits.push_back(
        static_cast<double>(lab::load_element(max_logits.data(), SEESAW_FLOAT32, i)));
  }
  return found;
}

SparseResults exact_sparse(const lab::SparseInputs& inputs) {
  SparseResults results;
  const size_t rows = to_size(inputs.batch * inputs.s_q * inputs.h_q);
  results.out.resize(rows * to_size(inputs.d_v));
  results.lse.resize(rows);
  results.max_logits.resize(rows);
#pragma omp parallel for schedule(dynamic)
  for (size_t r = 0; r < rows; ++r) {
    const auto i = static_cast<int64_t>(r);
    const int64_t head = i % inputs.h_q;
    const int64_t token = i / inputs.h_q % inputs.s_q;
    const int64_t sequence = i / inputs.h_q / inputs.s_q;
    const ExactRow row = exact_row(inputs, sequence, token, head);
    std::copy(row.out.begin(), row.out.end(), results.out.begin() + i * inputs.d_v);
    const size_t number = to_size((sequence * inputs.h_q + head) * inputs.s_q + token);
    const bool positive =
        row.max_logit == -kInfinity && inputs.empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY;
    const double lse = positive ? kInfinity : row.lse;
    results.lse[number] = inputs.lse_base == SEESAW_LSE_BASE2 ? lse / std::log(2.0) : lse;
    results.max_logits[number] = row.max_logit;
  }
  return results;
}

void expect_within_contract(const SparseCase& test_case, const SparseResults& results,
                            bool prefill) {
  const SparseSpec& spec = test_case.spec();
  const lab::SparseInputs inputs =
      prefill ? lab::sparse_inputs(test_case.prefill_problem(), test_case.prefill_inputs())
              : lab::sparse_inputs(test_case.problem(), test_case.inputs());
  const SparseResults exact = exact_sparse(inputs);
  const lab::Allowed allowed = lab::allowed_errors(inputs);
  const lab::ErrorStatistics errors = lab::compare<double>(
      {results.out, results.lse}, {exact.out, exact.lse}, allowed, {spec.s_q, spec.h_q, spec.d_v});
  EXPECT_TRUE(errors.ok()) << describe(spec) << "\n" << errors.text();
  for (size_t i = 0; i < exact.max_logits.size(); ++i) {
    EXPECT_LE(lab::of_bound(results.max_logits[i], exact.max_logits[i], allowed.max_logits[i]), 1)
        << describe(spec) << "\nmax_logits " << i << ": " << results.max_logits[i] << ", exact "
        << exact.max_logits[i];
  }
}

}  // namespace seesaw::testing
