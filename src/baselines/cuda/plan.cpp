#include "baselines/cuda/plan.hpp"

#include <algorithm>
#include <bit>

#include "base/math.hpp"
#include "base/message.hpp"
#include "baselines/models.hpp"

namespace seesaw::baselines {
namespace {

// Writes down the products, and lets the arena measure.
class RecordingOps final : public Ops {
 public:
  using Ops::Ops;

  Status gemm(const Gemm& step) override {
    if (!is_product(step)) {
      return {StatusCode::kInternalError,
              four_part_message("baselines", "a product of views that are no matrices",
                                "one of the last two strides is 1, and a and b have one dtype",
                                "This is a bug in the model.")};
    }
    products_.push_back(product_of(bias_comes_first(step) ? added_to_bias(step) : step));
    return {};
  }
  Status softmax(const Softmax&) override { return {}; }
  Status rms_norm(const RmsNorm&) override { return {}; }
  Status rotary(const Rotary&) override { return {}; }
  Status copy(const View&, const View&) override { return {}; }

  const std::vector<Product>& products() const { return products_; }

 private:
  std::vector<Product> products_;
};

struct Rehearsal {
  std::vector<Product> products;
  uint64_t arena_bytes = 0;
};

Status rehearse_with(const Problem& problem, int64_t past, Rehearsal* rehearsal) {
  Arena arena;
  RecordingOps ops(arena);
  SEESAW_RETURN_IF_ERROR(rehearse(ops, problem, past));
  *rehearsal = {ops.products(), arena.peak_bytes()};
  return {};
}

uint64_t workspace_of(const PlannedProduct& planned) {
  uint64_t bytes = 0;
  for (const std::optional<Algorithm>& algorithm : planned.algorithms) {
    bytes = std::max(bytes, algorithm ? algorithm->workspace_bytes : 0);
  }
  return bytes;
}

// Plans products, each distinct one once.
class ProductPlanner {
 public:
  ProductPlanner(const CublasLt& lt, cublasLtHandle_t handle) : lt_(lt), handle_(handle) {}

  std::shared_ptr<const PlannedProduct> plan(const Product& product, const Varying& varying) {
    for (const Known& each : known_) {
      if (each.planned->product == product && each.varying == varying) {
        return each.planned;
      }
    }
    known_.push_back({varying, std::make_shared<const PlannedProduct>(
                                   plan_product(lt_, handle_, product, varying))});
    return known_.back().planned;
  }

 private:
  struct Known {
    Varying varying;
    std::shared_ptr<const PlannedProduct> planned;
  };

  const CublasLt& lt_;
  cublasLtHandle_t handle_;
  std::vector<Known> known_;
};

}  // namespace

const Algorithm* PlannedProduct::algorithm_for(Alignment alignment) const {
  for (size_t i = static_cast<size_t>(alignment) + 1; i-- > 0;) {
    if (algorithms[i]) {
      return &*algorithms[i];
    }
  }
  return nullptr;
}

const PlanOfPast& CudaPlan::for_past(int64_t past) const {
  const auto found =
      std::lower_bound(pasts.begin(), pasts.end(), past,
                       [](const PlanOfPast& each, int64_t wanted) { return each.past < wanted; });
  return found == pasts.end() ? pasts.back() : *found;
}

std::vector<int64_t> planned_pasts(const Problem& problem) {
  // Multiples of 8 keys: whole 16 bytes in every type, so that every alignment is planned for.
  constexpr int64_t kKeys = 8;
  const int64_t tokens = problem.tokens;
  const int64_t last = (tokens + problem.max_past()) / kKeys * kKeys;
  std::vector<int64_t> pasts = {0};
  auto keys =
      static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(tokens + 1, kKeys))));
  for (; keys < last; keys *= 2) {
    pasts.push_back(keys - tokens);
  }
  if (last > tokens) {
    pasts.push_back(last - tokens);
  }
  return pasts;
}

PlannedProduct plan_product(const CublasLt& lt, cublasLtHandle_t handle, const Product& product,
                            const Varying& varying) {
  PlannedProduct planned{product, {}};
  const Alignment best = alignment_of(product);
  Product launched = product;
  launched.batch = std::min(product.batch, kMaxLaunchBatch);
  for (const Alignment alignment : {Alignment::kNone, Alignment::kRows, Alignment::kWhole}) {
    // Addresses may be aligned or not; that rows are whole changes with a size only.
    const bool possible =
        alignment == Alignment::kNone || alignment == best || (alignment < best && varying.any());
    if (possible) {
      const int64_t bytes =
          alignment == Alignment::kNone ? size_of(product.in) : int64_t{kAlignedBytes};
      planned.algorithms[static_cast<size_t>(alignment)] =
          choose_algorithm(lt, handle, weakened(launched, alignment, varying),
                           static_cast<uint32_t>(bytes), kMaxProductWorkspace);
    }
  }
  return planned;
}

Status make_plan(const CublasLt& lt, cublasLtHandle_t handle, const Problem& problem,
                 CudaPlan* plan) {
  Rehearsal first;
  Rehearsal longest;
  SEESAW_RETURN_IF_ERROR(rehearse_with(problem, 0, &first));
  SEESAW_RETURN_IF_ERROR(rehearse_with(problem, problem.max_past(), &longest));
  plan->arena_bytes = longest.arena_bytes;
  ProductPlanner planner(lt, handle);
  for (const int64_t past : planned_pasts(problem)) {
    Rehearsal rehearsal;
    SEESAW_RETURN_IF_ERROR(rehearse_with(problem, past, &rehearsal));
    plan->arena_bytes = std::max(plan->arena_bytes, rehearsal.arena_bytes);
    PlanOfPast of_past{past, {}};
    for (size_t i = 0; i < rehearsal.products.size(); ++i) {
      const Product& product = rehearsal.products[i];
      const Varying varying = varying_between(first.products[i], longest.products[i]);
      of_past.products.push_back(planner.plan(product, varying));
      const PlannedProduct& planned = *of_past.products.back();
      if (planned.algorithm_for(Alignment::kWhole) == nullptr) {
        return no_algorithm(product);
      }
      plan->product_bytes = std::max(plan->product_bytes, workspace_of(planned));
    }
    plan->pasts.push_back(std::move(of_past));
  }
  plan->arena_bytes = round_up(plan->arena_bytes, Arena::kAlignment);
  plan->product_bytes = round_up(plan->product_bytes, Arena::kAlignment);
  return {};
}

bool bias_comes_first(const Gemm& step) {
  return step.bias.present() && step.bias.dtype != step.c.dtype;
}

Gemm added_to_bias(const Gemm& step) {
  Gemm added = step;
  added.bias = {};
  added.accumulate = true;
  return added;
}

Status no_algorithm(const Product& product) {
  return not_supported(four_part_message(
      "baselines",
      fmt::format("{} products of [{}, {}] and [{}, {}]", product.batch * product.loops, product.m,
                  product.k, product.k, product.n),
      "what cuBLASLt has an algorithm for", "Use another dtype or other sizes."));
}

}  // namespace seesaw::baselines
