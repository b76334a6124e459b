// What planning leaves behind for the runs of one problem: algorithms for its products.
//
// Sizes depend on past_tokens P, so a plan has a list of algorithms for each of some P: 0, and
// those where P + N is a power of two, up to the longest. A run takes the nearest list from above.
// And it has an algorithm for each alignment, as that of addresses and sizes differs from run to
// run.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "baselines/cuda/matmul.hpp"
#include "baselines/ops.hpp"
#include "baselines/problem.hpp"

namespace seesaw::baselines {

struct PlannedProduct {
  Product product;
  std::array<std::optional<Algorithm>, kNumAlignments> algorithms;  // by Alignment

  // The algorithm for matrices of that alignment, or a weaker one; nothing if there is none.
  const Algorithm* algorithm_for(Alignment alignment) const;
};

// In the order of the run. Equal products, those of full chunks or of several pasts, are one.
using ProductList = std::vector<std::shared_ptr<const PlannedProduct>>;

struct PlanOfPast {
  int64_t past = 0;
  ProductList products;
};

struct CudaPlan {
  std::vector<PlanOfPast> pasts;  // ascending; never empty
  uint64_t arena_bytes = 0;
  uint64_t product_bytes = 0;  // of workspace for one product, behind the arena

  const PlanOfPast& for_past(int64_t past) const;
};

// The pasts that a plan has algorithms for.
std::vector<int64_t> planned_pasts(const Problem& problem);

// One algorithm for each alignment that runs may have; none, if there is none. Chosen for as many
// of the batch's matrices as one launch takes.
PlannedProduct plan_product(const CublasLt& lt, cublasLtHandle_t handle, const Product& product,
                            const Varying& varying);

// Rehearses the model and chooses. The handle's device is current.
Status make_plan(const CublasLt& lt, cublasLtHandle_t handle, const Problem& problem,
                 CudaPlan* plan);

// A bias of another type than the result's is no epilogue: it is copied to the result first, and
// the product added.
bool bias_comes_first(const Gemm& step);
Gemm added_to_bias(const Gemm& step);

// No algorithm does the product.
Status no_algorithm(const Product& product);

}  // namespace seesaw::baselines
