// The ladder's inputs and their answer, on the host: random data, the double-precision reference,
// and the comparison. Needs no GPU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ladder/problem.hpp"

namespace seesaw::ladder {

struct ProblemSpec {
  int heads = 128;
  std::vector<int32_t> seq_lens;  // one a sequence, each >= 1
  float scale = kModelScale;
  uint64_t seed = 1;

  // DeepSeek's: 1 / sqrt(192), the width of an expanded head's query (128 + 64), not of the latent.
  static constexpr float kModelScale = 0.07216878364870322F;
};

// Owns everything that a Problem points to. Q' is N(0, 8^2) and K' N(0, 0.1^2), so that scores have
// a standard deviation of 1.4: a softmax that is neither flat nor one-hot. Everything that a rung
// must not use is NaN (slots past a sequence's end, unused pages) or far out of range (block-table
// entries past a sequence's last page). Pages are in a shuffled order. `out` starts as NaN.
struct HostProblem {
  explicit HostProblem(const ProblemSpec& spec);

  Problem view();    // pointers into the vectors below
  void clear_out();  // NaN again: a run that writes nothing must not pass for the one before

  Problem shape;  // null pointers
  std::vector<Bf16> q, k, v, pool, out;
  std::vector<int32_t> block_table, seq_lens;
};

// Rows (sequence * heads + head) to check: all if there are at most `limit`, else `limit` of them,
// evenly spread, first and last included.
std::vector<int64_t> rows_to_check(const Problem& problem, int64_t limit);

// [rows.size(), 512]: softmax(scale * q K^T) V in double, from the packed arrays. Host pointers.
std::vector<double> reference_rows(const Problem& problem, std::span<const int64_t> rows);

// How far results are from the truth, in units of what is allowed.
struct Deviation {
  double max_error = 0.0;           // largest |x - r|
  double max_error_over_bound = 0;  // largest |x - r| / (8e-4 + |r| / 64); infinite for a NaN
  int64_t num_rows = 0;

  bool ok() const { return num_rows > 0 && max_error_over_bound <= 1.0; }
};

// out: [batch * heads, 512] on the host.
Deviation compare_rows(std::span<const Bf16> out, std::span<const int64_t> rows,
                       std::span<const double> reference);

// Work that a rung cannot avoid: the operations of both products, and the bytes of Q', of the
// tokens (each once, as the paged cache holds them) and of the output.
struct Work {
  double flops = 0.0;
  double bytes = 0.0;
};
Work work_of(int heads, std::span<const int32_t> seq_lens);

}  // namespace seesaw::ladder
