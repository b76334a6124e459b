#include "simt.hpp"

#include <ucontext.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace seesaw::emulator {
namespace {

constexpr size_t kStackBytes = 64 * 1024;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  unsigned index = 0;
  const unsigned* waits_on = nullptr;  // rests while *waits_on == waits_value
  unsigned waits_value = 0;
  bool ended = false;
  unsigned exchanges = 0;
  std::deque<std::vector<std::function<void()>>> groups;  // committed products, oldest first
  std::vector<std::function<void()>> open_group;

  bool can_run() const { return !ended && (waits_on == nullptr || *waits_on != waits_value); }
};

struct Warp {
  Barrier barrier;
  unsigned char slots[2][32 * kExchangeBytes];  // exchanges alternate, so one barrier is enough
};

struct MBarrier {
  int arrivals = 0;
  int pending = 0;
  int bytes = 0;        // announced minus arrived
  unsigned parity = 0;  // of the phase under way
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier named[16];
  std::map<uint32_t, MBarrier> mbarriers;
  std::deque<std::function<void()>> copies;
  ucontext_t scheduler;
  Fiber* current = nullptr;
  const std::function<void()>* thread = nullptr;
};

Block* block = nullptr;
alignas(1024) unsigned char shared[kSharedBytes];

void fiber_main() {
  (*block->thread)();
  block->current->ended = true;
  swapcontext(&block->current->context, &block->scheduler);
}

void rest() {
  Fiber* fiber = block->current;
  swapcontext(&fiber->context, &block->scheduler);
}

void resume(Fiber& fiber) {
  fiber.waits_on = nullptr;
  block->current = &fiber;
  thread_index.x = fiber.index;
  swapcontext(&block->scheduler, &fiber.context);
}

// Resumes the first fiber (in the order asked for) that can go on; whether there was one.
bool run_one() {
  const size_t count = block->fibers.size();
  for (size_t i = 0; i < count; ++i) {
    Fiber& fiber = block->fibers[conditions.order == Order::kForward ? i : count - 1 - i];
    if (fiber.can_run()) {
      resume(fiber);
      return true;
    }
  }
  return false;
}

void run_block(unsigned threads, const std::function<void()>& thread) {
  Block state;
  block = &state;
  state.thread = &thread;
  state.fibers.resize(threads);
  state.warps.resize((threads + 31) / 32);
  std::memset(shared, 0xFF, sizeof(shared));
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = state.fibers[i];
    fiber.index = i;
    fiber.stack = std::make_unique<char[]>(kStackBytes);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
  }
  for (;;) {
    if (run_one()) {
      continue;
    }
    if (!state.copies.empty()) {
      const std::function<void()> copy = std::move(state.copies.front());
      state.copies.pop_front();
      copy();
      continue;
    }
    std::string stuck;
    for (const Fiber& fiber : state.fibers) {
      if (!fiber.ended) {
        stuck.append(" ").append(std::to_string(fiber.index));
      }
    }
    block = nullptr;
    if (!stuck.empty()) {
      throw std::runtime_error("emulator: these threads wait for ever:" + stuck);
    }
    return;
  }
}

Fiber& current() { return *block->current; }

MBarrier& mbarrier(uint32_t address) {
  const auto found = block->mbarriers.find(address);
  if (found == block->mbarriers.end()) {
    throw std::runtime_error("emulator: mbarrier used before its initialisation");
  }
  return found->second;
}

void advance_phase(MBarrier& barrier) {
  if (barrier.pending == 0 && barrier.bytes == 0) {
    barrier.parity ^= 1U;
    barrier.pending = barrier.arrivals;
  }
}

void run_oldest_group(Fiber& fiber) {
  for (const auto& product : fiber.groups.front()) {
    product();
  }
  fiber.groups.pop_front();
}

}  // namespace

unsigned char* shared_memory() { return shared; }
unsigned block_threads() { return static_cast<unsigned>(block->fibers.size()); }

void run_grid(unsigned blocks_x, unsigned blocks_y, unsigned threads,
              const std::function<void()>& thread) {
  for (unsigned y = 0; y < blocks_y; ++y) {
    for (unsigned x = 0; x < blocks_x; ++x) {
      block_index = {x, y};
      run_block(threads, thread);
    }
  }
}

void wait_while_equal(const unsigned* word, unsigned value) {
  while (*word == value) {
    current().waits_on = word;
    current().waits_value = value;
    rest();
  }
}

void arrive(Barrier& barrier, unsigned threads) {
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    ++barrier.generation;
  }
}

void arrive_and_wait(Barrier& barrier, unsigned threads) {
  const unsigned generation = barrier.generation;
  arrive(barrier, threads);
  wait_while_equal(&barrier.generation, generation);
}

Barrier& named_barrier(unsigned id) { return block->named[id]; }

ExchangeView exchange(const void* mine, size_t bytes) {
  Fiber& fiber = current();
  Warp& warp = block->warps[fiber.index / 32];
  unsigned char* slots = warp.slots[fiber.exchanges++ % 2];
  std::memcpy(slots + fiber.index % 32 * kExchangeBytes, mine, bytes);
  arrive_and_wait(warp.barrier, 32);
  return {slots};
}

void copy_asynchronously(std::function<void()> copy) {
  if (conditions.timing != Timing::kLazy) {
    copy();
  } else {
    block->copies.push_back(std::move(copy));
  }
}

void issue_product(std::function<void()> product) {
  if (conditions.timing == Timing::kEager) {
    product();
  } else {
    current().open_group.push_back(std::move(product));
  }
}

void commit_products() {
  current().groups.push_back(std::move(current().open_group));
  current().open_group.clear();
}

void wait_for_products(size_t groups_left) {
  while (current().groups.size() > groups_left) {
    run_oldest_group(current());
  }
}

void mbarrier_init(uint32_t address, int arrivals) {
  block->mbarriers[address] = {arrivals, arrivals, 0, 0};
}

void mbarrier_arrive(uint32_t address, int expected_bytes) {
  MBarrier& barrier = mbarrier(address);
  if (barrier.pending == 0) {
    throw std::runtime_error("emulator: more arrivals at an mbarrier than its phase expects");
  }
  barrier.bytes += expected_bytes;
  --barrier.pending;
  advance_phase(barrier);
}

void mbarrier_complete(uint32_t address, int bytes) {
  MBarrier& barrier = mbarrier(address);
  barrier.bytes -= bytes;
  advance_phase(barrier);
}

void mbarrier_wait(uint32_t address, uint32_t parity) {
  wait_while_equal(&mbarrier(address).parity, parity);
}

}  // namespace seesaw::emulator
