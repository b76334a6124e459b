// The operations that the models are written in. One implementation a backend: in cpu/ (oneDNN and
// OpenMP loops), in cuda/ (cuBLASLt and small kernels), and cost_ops, which only counts.
//
// A model calls the same operations in the same order for the same problem. So a backend plans by
// letting the model run once over views of no memory, and runs by letting it run again: the i-th
// product of the run is the i-th product that was planned. Between runs only addresses differ, and
// sizes and strides that depend on past_tokens.
#pragma once

#include "base/status.hpp"
#include "baselines/arena.hpp"
#include "baselines/rotary.hpp"
#include "baselines/view.hpp"

namespace seesaw::baselines {

enum class Part { kProjection, kAttention };

// c = a b + bias, or c += a b: for each [i, j] of the first two dimensions a product of matrices.
//   a [., ., m, k]   b [., ., k, n]   c [I, J, m, n]   bias [1, 1, 1, n] or absent
// The first two dimensions of a and b are c's, or 1: then one matrix serves all. Of the last two
// strides of each one is 1, c's last (of a dimension of size 1: any). a, b and bias have one dtype;
// c has the same or float32. Sums are float32.
struct Gemm {
  View a;
  View b;
  View c;
  View bias{};
  bool accumulate = false;  // c float32, no bias
  Part part = Part::kProjection;
};

enum class Visible { kAll, kCausal };

// probabilities = softmax(scale * scores) over the last dimension, of the visible entries; hidden
// ones get 0, and so does a row with none visible. A NaN or +inf among a row's visible scaled
// scores, or nothing but -inf there, makes the row's visible probabilities NaN; hidden ones stay 0.
//   scores         [B, H, n, S] float32, last stride 1; may be overwritten
//   mask           [B, H, n, S] uint8, any strides (0 repeats); 0 hides. Absent: none
//   probabilities  [B, H, n, S] float32 or 16-bit, last stride 1; float32 may be `scores` itself
// Causal: row i sees entries [0, first_position + i].
struct Softmax {
  View scores;
  View mask{};
  View probabilities;
  float scale = 1.0F;
  Visible visible = Visible::kAll;
  int64_t first_position = 0;
};

// out = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension, in float32, rounded once.
//   x, out [., ., ., d], last stride 1; weight [1, 1, 1, d]. out may be x.
struct RmsNorm {
  View x;
  View weight;
  View out;
  float epsilon = 0.0F;
};

// Rotary embedding of adjacent pairs (x[2i], x[2i + 1]), turned by position * frequency_of(i),
// angles in double or reduced as carefully, the result rounded once.
//   x, out [B, 1 or H, N, d], last stride 1, d even; out may be x.
//   positions [B, 1, N, 1] int32, any strides; absent: first_position + n.
struct Rotary {
  View x;
  View out;
  View positions{};
  int64_t first_position = 0;
  RotaryFrequencies frequencies{};
};

class Ops {
 public:
  explicit Ops(Arena& arena) : arena_(arena) {}
  virtual ~Ops() = default;
  Ops(const Ops&) = delete;
  Ops& operator=(const Ops&) = delete;

  virtual Status gemm(const Gemm& step) = 0;
  virtual Status softmax(const Softmax& step) = 0;
  virtual Status rms_norm(const RmsNorm& step) = 0;
  virtual Status rotary(const Rotary& step) = 0;
  // Same shape, any strides: copies, transposes through strides, and converts between float32 and
  // the 16-bit types, to nearest even.
  virtual Status copy(const View& from, const View& to) = 0;

  // Steps run in order on one stream, so memory given back may be handed out again at once.
  Arena& arena() { return arena_; }
  View allocate(DType dtype, Dims shape) { return arena_.allocate(dtype, shape); }

 private:
  Arena& arena_;
};

}  // namespace seesaw::baselines
