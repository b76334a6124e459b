// The emulator must be able to fail: a missing barrier, a wait without end and memory that nobody
// wrote are seen. The missing barrier is that of the reduction in the study notes' second kernel.
#include "simt.hpp"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>

namespace seesaw::emulator {
namespace {

constexpr unsigned kThreads = 64;

Grid block_of(unsigned threads) { return {.blocks = {}, .threads = threads, .shared_bytes = 1024}; }

enum class Barriers { kKept, kForgotten };

// Sum of 1 + 2 + ... + 64 by a tree; barriers between its levels, or none.
float tree_sum(Order order, Barriers barriers) {
  const UnderConditions here({.order = order});
  auto* tree = reinterpret_cast<float*>(shared_memory());
  float result = 0.0F;
  run_grid(block_of(kThreads), [&] {
    const unsigned thread = threadIdx.x;
    tree[thread] = static_cast<float>(thread + 1);
    if (barriers == Barriers::kKept) {
      __syncthreads();
    }
    for (unsigned half = kThreads / 2; half > 0; half /= 2) {
      if (thread < half) {
        tree[thread] += tree[thread + half];
      }
      if (barriers == Barriers::kKept) {
        __syncthreads();
      }
    }
    if (thread == 0) {
      result = tree[0];
    }
  });
  return result;
}

TEST(Emulator, TreeReductionWithBarriers) {
  EXPECT_EQ(tree_sum(Order::kForward, Barriers::kKept), 2080.0F);
  EXPECT_EQ(tree_sum(Order::kBackward, Barriers::kKept), 2080.0F);
}

TEST(Emulator, TreeReductionWithoutBarriersIsARace) {
  const float forward = tree_sum(Order::kForward, Barriers::kForgotten);
  EXPECT_NE(forward, 2080.0F);  // not a number: the others have not written yet
}

TEST(Emulator, SharedMemoryStartsAsNan) {
  bool nan = false;
  run_grid(block_of(1), [&] { nan = std::isnan(*reinterpret_cast<float*>(shared_memory())); });
  EXPECT_TRUE(nan);
}

TEST(Emulator, ReportsABarrierThatNotAllReach) {
  EXPECT_THROW(run_grid(block_of(kThreads),
                        [] {
                          if (threadIdx.x != 5) {
                            __syncthreads();
                          }
                        }),
               Fault);
}

TEST(Emulator, LazyCopiesArriveWhenNothingElseCanGoOn) {
  for (const Timing timing : {Timing::kEager, Timing::kLazy}) {
    const UnderConditions here({.timing = timing});
    int before = -1;
    int after = -1;
    run_grid(block_of(1), [&] {
      int landed = 0;
      mbarrier_init(0, 1);
      mbarrier_arrive(0, 16);
      copy_asynchronously(0, 16, [&] { landed = 1; });
      before = landed;
      mbarrier_wait(0, 0);
      after = landed;
    });
    EXPECT_EQ(before, timing == Timing::kEager ? 1 : 0);
    EXPECT_EQ(after, 1);
  }
}

}  // namespace
}  // namespace seesaw::emulator
