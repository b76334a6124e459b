// The scheduler of one block: a fiber for every thread, and which of them goes on.
#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "block.hpp"

namespace seesaw::emulator::detail {
namespace {

constexpr size_t kStackBytes = 64 * 1024;

// Kept from block to block. Not cleared: registers start as anything.
char* stack_of(unsigned index) {
  static std::vector<std::unique_ptr<char[]>> stacks[2];
  auto& of_depth = stacks[depth];
  while (of_depth.size() <= index) of_depth.emplace_back(new char[kStackBytes]);
  return of_depth[index].get();
}

void end_fiber() {
  Fiber& fiber = current();
  block->ready.reset(fiber.index);
  ++block->ended;
  Warp& warp = current_warp();
  --warp.live;
  if (warp.barrier.arrived > 0 && warp.barrier.arrived == warp.live) {  // the others wait for it
    warp.barrier.arrived = 0;
    wake(warp.barrier.waiters);
  }
  if (!fiber.copies.empty()) {
    block->fault = "thread " + std::to_string(fiber.index) + " ended before its own copies";
  }
}

void fiber_main() {
  try {
    (*block->thread)();
    end_fiber();
  } catch (const Fault& stopped) {
    block->fault = stopped.what();
  }
  _longjmp(block->scheduler, 1);
}

void resume(unsigned index) {
  Fiber& fiber = block->fibers[index];
  block->current = &fiber;
  thread_index = {index, 0, 0};
  if (_setjmp(block->scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.context, 1);
  fiber.started = true;
  setcontext(&fiber.start);
}

unsigned next_ready() {
  if (conditions.order == Order::kForward) {
    return static_cast<unsigned>(block->ready._Find_first());
  }
  if (conditions.order == Order::kShuffled) {
    const size_t next = block->ready._Find_next(block->random() % block->fibers.size());
    return static_cast<unsigned>(next < block->fibers.size() ? next : block->ready._Find_first());
  }
  unsigned index = static_cast<unsigned>(block->fibers.size());
  while (!block->ready.test(--index)) {
  }
  return index;
}

std::string list_waiting() {
  std::string list;
  const size_t count = block->fibers.size();
  const auto add = [&](const Waiters& waiters, const std::string& what) {
    if (waiters.none()) return;
    list += list.empty() ? " " : "; ";
    list += std::to_string(waiters.count()) + " at " + what + ", the first thread " +
            std::to_string(waiters._Find_first());
  };
  for (size_t i = 0; i < std::size(block->named); ++i) {
    add(block->named[i].waiters, "barrier " + std::to_string(i));
  }
  for (const auto& [address, barrier] : block->mbarriers) {
    add(barrier.waiters, "the mbarrier at " + std::to_string(address));
  }
  for (size_t i = 0; i < block->warps.size(); ++i) {
    add(block->warps[i].barrier.waiters, "warp " + std::to_string(i) + "'s own");
  }
  return list + " (of " + std::to_string(count) + " threads)";
}

}  // namespace

void make_fibers(unsigned threads) {
  block->random.seed(conditions.seed + 1);
  block->fibers.resize(threads);
  block->warps.resize((threads + kWarp - 1) / kWarp);
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = block->fibers[i];
    fiber.index = i;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = stack_of(i);
    fiber.start.uc_stack.ss_size = kStackBytes;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, fiber_main, 0);
    ++block->warps[i / kWarp].live;
    block->ready.set(i);
  }
}

void wake(Waiters& waiters) {
  block->ready |= waiters;
  waiters.reset();
}

void rest(Waiters& waiters) {
  Fiber& fiber = current();
  waiters.set(fiber.index);
  block->ready.reset(fiber.index);
  if (_setjmp(fiber.context) == 0) _longjmp(block->scheduler, 1);
}

void run_fibers() {
  while (!block->fault) {
    if (block->ready.any()) {
      resume(next_ready());
    } else if (block->ended == block->fibers.size()) {
      break;
    } else if (block->for_previous_grid.any()) {
      end_previous_grid();
    } else if (!block->copies.empty()) {
      run_copy();
    } else {
      fault("these threads wait for ever:" + list_waiting());
    }
  }
  if (block->fault) fault(*block->fault);
  // It would write into the shared memory of the block that comes next.
  if (!block->copies.empty()) fault("a block ended before a copy that it had asked for");
}

}  // namespace seesaw::emulator::detail
