// Mbarriers, the copy engine that completes on them, and the copies of a thread's own.
#include <algorithm>
#include <deque>
#include <functional>
#include <iterator>
#include <utility>

#include "block.hpp"

namespace seesaw::emulator {

using namespace detail;

namespace {

MBarrier& mbarrier(uint32_t address) {
  const auto found = block->mbarriers.find(address);
  if (found == block->mbarriers.end()) fault("an mbarrier is used before its initialisation");
  return found->second;
}

void advance_phase(MBarrier& barrier) {
  if (barrier.pending == 0 && barrier.bytes == 0) {
    barrier.parity ^= 1U;
    barrier.pending = barrier.arrivals;
    wake(barrier.waiters);
  }
}

void complete(const Copy& copy) {
  copy.run();
  MBarrier& barrier = mbarrier(copy.mbarrier);
  barrier.bytes -= copy.bytes;
  advance_phase(barrier);
}

}  // namespace

void detail::run_copy() {
  const auto is_waited_for = [](const Copy& copy) { return mbarrier(copy.mbarrier).waiters.any(); };
  auto chosen = std::find_if(block->copies.begin(), block->copies.end(), is_waited_for);
  if (conditions.order == Order::kBackward) {
    // The last of them: copies need not come in the order in which they were asked for.
    const auto last = std::find_if(block->copies.rbegin(), block->copies.rend(), is_waited_for);
    if (last != block->copies.rend()) chosen = std::prev(last.base());
  }
  if (chosen == block->copies.end()) chosen = block->copies.begin();
  const Copy copy = std::move(*chosen);
  block->copies.erase(chosen);
  complete(copy);
}

// ---- mbarriers

void mbarrier_init(uint32_t address, int arrivals) {
  shared_at(address, sizeof(uint64_t));
  block->mbarriers[address] = {arrivals, arrivals, 0, 0, {}};
}

void mbarrier_arrive(uint32_t address, int expected_bytes) {
  MBarrier& barrier = mbarrier(address);
  if (barrier.pending == 0) fault("more arrivals at an mbarrier than its phase expects");
  barrier.bytes += expected_bytes;
  --barrier.pending;
  advance_phase(barrier);
}

bool mbarrier_test(uint32_t address, uint32_t parity) { return mbarrier(address).parity != parity; }

void mbarrier_wait(uint32_t address, uint32_t parity) {
  if (conditions.ignored.what == Ignored::What::kMbarrier &&
      ignores(Ignored::What::kMbarrier, address, current().mbarriers_met[address]++)) {
    return;
  }
  MBarrier& barrier = mbarrier(address);
  while (barrier.parity == parity) rest(barrier.waiters);
}

// ---- copies

void copy_asynchronously(uint32_t mbarrier, int bytes, std::function<void()> copy) {
  Copy asked = {mbarrier, bytes, std::move(copy)};
  if (conditions.timing == Timing::kLazy) {
    block->copies.push_back(std::move(asked));
  } else {
    complete(asked);
  }
}

void copy_by_thread(std::function<void()> copy) {
  if (conditions.timing == Timing::kLazy) {
    current().copies.push_back(std::move(copy));
  } else {
    copy();
  }
}

void commit_own_copies() {
  Fiber& fiber = current();
  fiber.groups.push_back(fiber.copies.size() - fiber.grouped_copies);
  fiber.grouped_copies = fiber.copies.size();
}

void wait_for_own_groups(size_t groups_left) {
  if (ignores_all(Ignored::What::kCopyWaits)) return;
  Fiber& fiber = current();
  while (fiber.groups.size() > groups_left) {
    for (size_t i = 0; i < fiber.groups.front(); ++i) {
      fiber.copies.front()();
      fiber.copies.pop_front();
      --fiber.grouped_copies;
    }
    fiber.groups.pop_front();
  }
}

void wait_for_own_copies() {
  if (ignores_all(Ignored::What::kCopyWaits)) return;
  Fiber& fiber = current();
  for (const auto& copy : fiber.copies) copy();
  fiber.copies.clear();
  fiber.groups.clear();
  fiber.grouped_copies = 0;
}

}  // namespace seesaw::emulator
