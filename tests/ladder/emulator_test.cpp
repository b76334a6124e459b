// The emulator must be able to fail: a missing barrier, a wait without end and memory that nobody
// wrote are seen. The missing barrier is that of the reduction in the study notes' second kernel.
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "ladder/runtime.cuh"

namespace seesaw::ladder {
namespace {

using emulator::Order;

constexpr unsigned kThreads = 64;

enum class Barriers { kKept, kForgotten };

// Sum of 1 + 2 + ... + 64 by a tree; barriers between its levels, or none.
float tree_sum(Order order, Barriers barriers) {
  emulator::conditions = {order, emulator::Timing::kEager};
  auto* tree = reinterpret_cast<float*>(dynamic_shared());
  float result = 0.0F;
  emulator::run_grid(1, 1, kThreads, [&] {
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
  emulator::conditions = {};
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
  emulator::run_grid(1, 1, 1,
                     [&] { nan = std::isnan(*reinterpret_cast<float*>(dynamic_shared())); });
  EXPECT_TRUE(nan);
}

TEST(Emulator, ReportsABarrierThatNotAllReach) {
  EXPECT_THROW(emulator::run_grid(1, 1, kThreads,
                                  [] {
                                    if (threadIdx.x != 5) {
                                      __syncthreads();
                                    }
                                  }),
               std::runtime_error);
}

TEST(Emulator, LazyCopiesArriveWhenNothingElseCanGoOn) {
  for (const emulator::Timing timing : {emulator::Timing::kEager, emulator::Timing::kLazy}) {
    emulator::conditions = {Order::kForward, timing};
    int before = -1;
    int after = -1;
    emulator::run_grid(1, 1, 1, [&] {
      int landed = 0;
      emulator::mbarrier_init(0, 1);
      emulator::mbarrier_arrive(0, 16);
      emulator::copy_asynchronously([&] {
        landed = 1;
        emulator::mbarrier_complete(0, 16);
      });
      before = landed;
      emulator::mbarrier_wait(0, 0);
      after = landed;
    });
    EXPECT_EQ(before, timing == emulator::Timing::kEager ? 1 : 0);
    EXPECT_EQ(after, 1);
  }
  emulator::conditions = {};
}

}  // namespace
}  // namespace seesaw::ladder
