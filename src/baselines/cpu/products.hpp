// Matrix products by oneDNN, prepared when planning.
#pragma once

#include <array>
#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/status.hpp"
#include "baselines/ops.hpp"

namespace seesaw::baselines::cpu {

// What a product says of one operand: sizes and strides in 2, 3 or 4 dimensions.
struct OperandLayout {
  int rank = 0;  // 0: absent
  dnnl_dims_t dims{};
  dnnl_dims_t strides{};
  DType dtype = DType::kFloat32;

  bool operator==(const OperandLayout&) const = default;
};

struct ProductLayout {
  OperandLayout a;
  OperandLayout b;
  OperandLayout c;
  OperandLayout bias;
  bool accumulate = false;

  bool operator==(const ProductLayout&) const = default;
};

// The layout of a step, without the leading dimensions that are 1 everywhere.
ProductLayout layout_of(const Gemm& step);

class Product {
 public:
  // A product for every step whose layout is `first`, or differs from it in no more than `second`
  // does. Sizes and strides in which the two differ are taken from the step when it runs.
  Product(const ProductLayout& first, const ProductLayout& second, const dnnl::engine& engine);

  uint64_t scratch_bytes() const { return scratch_.get_size(); }

  // Fails if the step is not what was prepared.
  Status run(const Gemm& step, void* scratch, const dnnl::stream& stream) const;

 private:
  ProductLayout planned_;  // DNNL_RUNTIME_DIM_VAL where taken from the step
  dnnl::engine engine_;
  dnnl::matmul product_;
  dnnl::memory::desc scratch_;
};

// Whether this machine has a product of the dtype; else operands go through float32.
bool has_products_of(DType dtype);

}  // namespace seesaw::baselines::cpu
