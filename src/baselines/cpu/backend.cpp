// The CPU backend: plans by recording the products of two rehearsals, runs by repeating the model.
#include "baselines/backend.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/fork.hpp"
#include "base/math.hpp"
#include "baselines/cpu/ops.hpp"
#include "baselines/cpu/products.hpp"
#include "baselines/cpu/thread_count.hpp"
#include "baselines/models.hpp"
#include "baselines/refusal.hpp"

namespace seesaw::baselines {
namespace {

using cpu::CpuOps;
using cpu::Pass;
using cpu::Product;
using cpu::ProductLayout;
using cpu::ThreadCount;

// Writes products down, equal ones (those of full chunks, say) once.
class Recorder final : public cpu::Products {
 public:
  Status product(const Gemm& step) override {
    const ProductLayout layout = cpu::layout_of(step);
    const auto found = std::find(layouts.begin(), layouts.end(), layout);
    order.push_back(static_cast<uint32_t>(found - layouts.begin()));
    if (found == layouts.end()) {
      layouts.push_back(layout);
    }
    return {};
  }
  void count_conversion() override { ++conversions; }

  std::vector<ProductLayout> layouts;
  std::vector<uint32_t> order;  // the i-th product's layout
  uint64_t conversions = 0;
};

class Runner final : public cpu::Products {
 public:
  Runner(std::span<const Product> products, std::span<const uint32_t> order, void* scratch,
         const dnnl::engine& engine)
      : products_(products), order_(order), scratch_(scratch), stream_(engine) {}

  Status product(const Gemm& step) override {
    return products_[order_[next_++]].run(step, scratch_, stream_);
  }

 private:
  std::span<const Product> products_;
  std::span<const uint32_t> order_;
  void* scratch_;
  dnnl::stream stream_;
  size_t next_ = 0;  // of order_
};

class CpuPrepared final : public Prepared {
 public:
  explicit CpuPrepared(const Problem& problem)
      : num_threads_(problem.num_threads), engine_(dnnl::engine::kind::cpu, 0) {}

  Status prepare(const Problem& problem) {
    const ThreadCount threads(num_threads_);
    Recorder longest;
    Recorder shorter;
    Arena arena;
    Arena arena_of_shorter;
    CpuOps longest_ops(arena, longest, Pass::kRehearsal);
    CpuOps shorter_ops(arena_of_shorter, shorter, Pass::kRehearsal);
    // Shorter by as many keys as rows of scores are padded to (attention.cpp): so every size and
    // every stride that depends on the past differs between the two.
    constexpr int64_t kPadding = 32;
    const int64_t past = problem.max_past();
    SEESAW_RETURN_IF_ERROR(rehearse(longest_ops, problem, past));
    SEESAW_RETURN_IF_ERROR(rehearse(shorter_ops, problem, std::max<int64_t>(past - kPadding, 0)));
    share_products(longest, shorter);
    scratch_bytes_ = round_up(scratch_bytes_, Arena::kAlignment);
    arena_bytes_ = arena.peak_bytes();
    conversions_ = longest.conversions;
    return {};
  }

  uint64_t workspace_bytes() const override { return scratch_bytes_ + arena_bytes_; }
  uint64_t num_products() const override { return order_.size(); }
  uint64_t converted_products() const override { return conversions_; }

  Status run(const Call& call, void* workspace, void*) const override {
    if (num_threads_ > 1 && lost_threads_in_fork()) {
      return bad(fmt::format("a plan of {} threads in a child of fork()", num_threads_),
                 "plans that the child makes, which have one",
                 "Make the plan again in the child, or start the process by spawn.");
    }
    const ThreadCount threads(num_threads_);
    Runner products(products_, order_, workspace, engine_);
    Arena arena(static_cast<char*>(workspace) + scratch_bytes_);
    CpuOps ops(arena, products, Pass::kRun);
    return run_model(ops, call);
  }

 private:
  // One product for all that are equal in both rehearsals.
  void share_products(const Recorder& longest, const Recorder& shorter) {
    std::map<std::pair<uint32_t, uint32_t>, uint32_t> known;  // by both layouts
    for (size_t i = 0; i < longest.order.size(); ++i) {
      const std::pair layouts(longest.order[i], shorter.order[i]);
      const auto [at, is_new] = known.emplace(layouts, static_cast<uint32_t>(products_.size()));
      if (is_new) {
        products_.emplace_back(longest.layouts[layouts.first], shorter.layouts[layouts.second],
                               engine_);
        scratch_bytes_ = std::max(scratch_bytes_, products_.back().scratch_bytes());
      }
      order_.push_back(at->second);
    }
  }

  int num_threads_;
  dnnl::engine engine_;
  std::vector<Product> products_;  // distinct
  std::vector<uint32_t> order_;    // the i-th product of a run
  uint64_t scratch_bytes_ = 0;     // of the largest product; the front of the workspace
  uint64_t arena_bytes_ = 0;
  uint64_t conversions_ = 0;
};

class CpuBackend final : public Backend {
 public:
  const char* name() const override { return "cpu.onednn"; }

  Support supports(const Problem& problem) const override {
    if (problem.device.type == SEESAW_CPU) {
      return {true, ""};
    }
    return {false, "the problem's device is not the CPU"};
  }

  Status prepare(const Problem& problem, std::unique_ptr<Prepared>* prepared) const override {
    auto made = std::make_unique<CpuPrepared>(problem);
    SEESAW_RETURN_IF_ERROR(made->prepare(problem));
    *prepared = std::move(made);
    return {};
  }
};

}  // namespace

const Backend& onednn_backend() {
  static const CpuBackend backend;
  return backend;
}

}  // namespace seesaw::baselines
