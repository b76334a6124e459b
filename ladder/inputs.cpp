#include "ladder/inputs.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "base/math.hpp"
#include "ladder/arithmetic.hpp"

namespace seesaw::ladder {
namespace {

constexpr float kQuerySigma = 8.0F;
constexpr float kTokenSigma = 0.1F;
constexpr Bf16 kNan = 0x7FC0;
constexpr int32_t kNoPage = 1 << 24;  // far outside any pool here
constexpr int kUnusedPages = 3;
constexpr double kTwoPi = 6.283185307179586;

// SplitMix64 of an index: the same numbers in any order of evaluation.
uint64_t hash(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0xD1B54A32D192ED03ULL + (index + 1) * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// N(0, sigma^2) by Box and Muller.
Bf16 normal(uint64_t seed, uint64_t index, float sigma) {
  const uint64_t bits = hash(seed, index);
  const double u = (static_cast<double>(bits >> 32) + 0.5) * 0x1p-32;
  const double angle = kTwoPi * static_cast<double>(bits & 0xFFFFFFFFULL) * 0x1p-32;
  return to_bf16(sigma * static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(angle)));
}

void fill_normal(uint64_t seed, float sigma, std::span<Bf16> values) {
#pragma omp parallel for
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = normal(seed, i, sigma);
  }
}

// A shuffled order of the pool's pages (Fisher and Yates).
std::vector<int32_t> shuffled_pages(int num_pages, uint64_t seed) {
  std::vector<int32_t> pages(static_cast<size_t>(num_pages));
  std::iota(pages.begin(), pages.end(), 0);
  for (size_t i = pages.size() - 1; i > 0; --i) {
    std::swap(pages[i], pages[hash(seed, i) % (i + 1)]);
  }
  return pages;
}

// Copies one sequence's tokens from `k` into `v` and into pages of the pool.
void derive_copies(HostProblem& problem, int sequence, std::span<const int32_t> pages) {
  const Problem& shape = problem.shape;
  const int tokens = problem.seq_lens[static_cast<size_t>(sequence)];
  for (int t = 0; t < tokens; ++t) {
    const int64_t slot = static_cast<int64_t>(sequence) * shape.max_tokens + t;
    const Bf16* source = problem.k.data() + slot * kQkColumns;
    const int64_t page = pages[static_cast<size_t>(t / kPageTokens)];
    std::memcpy(problem.v.data() + slot * kValueColumns, source, kValueColumns * sizeof(Bf16));
    std::memcpy(problem.pool.data() + (page * kPageTokens + t % kPageTokens) * kQkColumns, source,
                kQkColumns * sizeof(Bf16));
  }
}

// One row of the reference.
void reference_row(const Problem& p, int64_t row, std::span<double> out) {
  const int64_t sequence = row / p.heads;
  const int tokens = p.seq_lens[sequence];
  const Bf16* q = p.q + row * kQkColumns;
  const Bf16* k = p.k + sequence * p.max_tokens * kQkColumns;
  const Bf16* v = p.v + sequence * p.max_tokens * kValueColumns;
  std::vector<double> scores(static_cast<size_t>(tokens));
  for (int t = 0; t < tokens; ++t) {
    double dot = 0.0;
    for (int c = 0; c < kQkColumns; ++c) {
      dot += static_cast<double>(to_float(q[c])) *
             static_cast<double>(to_float(k[static_cast<int64_t>(t) * kQkColumns + c]));
    }
    scores[static_cast<size_t>(t)] = dot * static_cast<double>(p.scale);
  }
  const double maximum = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (int t = 0; t < tokens; ++t) {
    const double weight = std::exp(scores[static_cast<size_t>(t)] - maximum);
    sum += weight;
    for (int c = 0; c < kValueColumns; ++c) {
      out[static_cast<size_t>(c)] +=
          weight * static_cast<double>(to_float(v[static_cast<int64_t>(t) * kValueColumns + c]));
    }
  }
  for (double& value : out) {
    value /= sum;
  }
}

}  // namespace

HostProblem::HostProblem(const ProblemSpec& spec) : seq_lens(spec.seq_lens) {
  shape.batch = static_cast<int>(seq_lens.size());
  shape.heads = spec.heads;
  shape.scale = spec.scale;
  const int longest = *std::max_element(seq_lens.begin(), seq_lens.end());
  shape.max_tokens = round_up(longest, kPageTokens);
  const int columns = shape.pages_per_sequence();
  shape.num_pages = shape.batch * columns + kUnusedPages;

  const size_t slots = static_cast<size_t>(shape.batch) * static_cast<size_t>(shape.max_tokens);
  const size_t rows = static_cast<size_t>(shape.batch) * static_cast<size_t>(shape.heads);
  q.resize(rows * kQkColumns);
  k.resize(slots * kQkColumns, kNan);
  v.resize(slots * kValueColumns, kNan);
  pool.resize(static_cast<size_t>(shape.num_pages) * kPageTokens * kQkColumns, kNan);
  out.resize(rows * kValueColumns, kNan);
  block_table.resize(static_cast<size_t>(shape.batch) * static_cast<size_t>(columns), kNoPage);

  fill_normal(spec.seed, kQuerySigma, q);
  fill_normal(spec.seed + 1, kTokenSigma, k);
  const std::vector<int32_t> order = shuffled_pages(shape.num_pages, spec.seed + 2);
#pragma omp parallel for
  for (int b = 0; b < shape.batch; ++b) {
    const size_t first = static_cast<size_t>(b) * static_cast<size_t>(columns);
    const int tokens = seq_lens[static_cast<size_t>(b)];
    const auto pages = std::span(order).subspan(first, static_cast<size_t>(columns));
    std::copy_n(pages.begin(), ceil_div(tokens, kPageTokens),
                block_table.begin() + static_cast<ptrdiff_t>(first));
    derive_copies(*this, b, pages);
    const auto begin = (static_cast<ptrdiff_t>(b) * shape.max_tokens + tokens) * kQkColumns;
    const auto end = static_cast<ptrdiff_t>(b + 1) * shape.max_tokens * kQkColumns;
    std::fill(k.begin() + begin, k.begin() + end, kNan);
  }
}

Problem HostProblem::view() {
  Problem problem = shape;
  problem.q = q.data();
  problem.k = k.data();
  problem.v = v.data();
  problem.pool = pool.data();
  problem.block_table = block_table.data();
  problem.seq_lens = seq_lens.data();
  problem.out = out.data();
  return problem;
}

void HostProblem::clear_out() { std::fill(out.begin(), out.end(), kNan); }

std::vector<int64_t> rows_to_check(const Problem& problem, int64_t limit) {
  const int64_t total = static_cast<int64_t>(problem.batch) * problem.heads;
  const int64_t count = std::min(total, limit);
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    rows[static_cast<size_t>(i)] = count > 1 ? i * (total - 1) / (count - 1) : 0;
  }
  return rows;
}

std::vector<double> reference_rows(const Problem& problem, std::span<const int64_t> rows) {
  std::vector<double> out(rows.size() * kValueColumns, 0.0);
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < rows.size(); ++i) {
    reference_row(problem, rows[i], std::span(out).subspan(i * kValueColumns, kValueColumns));
  }
  return out;
}

Deviation compare_rows(std::span<const Bf16> out, std::span<const int64_t> rows,
                       std::span<const double> reference) {
  Deviation deviation;
  deviation.num_rows = static_cast<int64_t>(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t c = 0; c < kValueColumns; ++c) {
      const double expected = reference[i * kValueColumns + c];
      const auto actual =
          static_cast<double>(to_float(out[static_cast<size_t>(rows[i]) * kValueColumns + c]));
      const double error = std::isfinite(actual) ? std::fabs(actual - expected)
                                                 : std::numeric_limits<double>::infinity();
      deviation.max_error = std::max(deviation.max_error, error);
      deviation.max_error_over_bound =
          std::max(deviation.max_error_over_bound, error / (8e-4 + std::fabs(expected) / 64.0));
    }
  }
  return deviation;
}

Work work_of(int heads, std::span<const int32_t> seq_lens) {
  Work work;
  for (const int32_t tokens : seq_lens) {
    work.flops += 2.0 * heads * tokens * (kQkColumns + kValueColumns);
    work.bytes += 2.0 * (tokens * static_cast<double>(kQkColumns) +
                         heads * static_cast<double>(kQkColumns + kValueColumns));
  }
  return work;
}

}  // namespace seesaw::ladder
