// A step's matrix product as cuBLASLt takes it: strided batches with one stride, called once or in
// a loop. Pure functions of shapes and strides.
#pragma once

#include <cstddef>
#include <cstdint>

#include "baselines/ops.hpp"

namespace seesaw::baselines {

// One of the three matrices, row-major, or its transpose is.
struct Operand {
  bool transposed = false;
  int64_t row_stride = 0;    // elements between rows as they lie in memory
  int64_t batch_stride = 0;  // 0: one matrix serves all
  int64_t loop_stride = 0;

  bool operator==(const Operand&) const = default;
};

// c [m, n] = a [m, k] b [k, n], `loops` times a batch of `batch` matrices.
struct Product {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  int64_t batch = 1;
  int64_t loops = 1;
  Operand a;
  Operand b;
  Operand c;  // never transposed
  DType in = DType::kFloat32;
  DType out = DType::kFloat32;
  bool bias = false;
  bool accumulate = false;

  bool operator==(const Product&) const = default;
};

// The most matrices of one launch: cuBLASLt's kernels put the batch into a dimension of the grid
// that has no more blocks. A larger batch is launched in parts.
inline constexpr int64_t kMaxLaunchBatch = 65535;

// The fewest calls that do the step's product. Where one b serves many a, these become rows of one.
Product product_of(const Gemm& step);

// How far a product's matrices lie on multiples of 16 bytes, given that a, b, c and the bias start
// there. From weakest to strongest; an algorithm for a weaker one does a stronger one too.
enum class Alignment {
  kNone,  // not each row does
  kRows,  // each row starts there
  kWhole  // and is a whole number of 16 bytes long
};
inline constexpr size_t kNumAlignments = 3;
inline constexpr int64_t kAlignedBytes = 16;

Alignment alignment_of(const Product& product);

// Which of a product's sizes differ between runs.
struct Varying {
  bool m = false;
  bool n = false;
  bool k = false;

  bool any() const { return m || n || k; }
  bool operator==(const Varying&) const = default;
};
Varying varying_between(const Product& one, const Product& other);

// The product, or one of nearly its varying sizes, that lets an algorithm expect no more than
// `alignment` of what varies: what is found for it does any run's product with that alignment.
Product weakened(const Product& product, Alignment alignment, const Varying& varying);

// Whether a and b and c are matrices as Gemm has them: one of the last two strides is 1.
bool is_product(const Gemm& step);

}  // namespace seesaw::baselines
