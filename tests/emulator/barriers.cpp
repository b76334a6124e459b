// Named barriers, a warp's own, and the exchange among its lanes.
#include <cstring>
#include <iterator>
#include <string>

#include "block.hpp"

namespace seesaw::emulator {

using namespace detail;

namespace {

// At a barrier that `threads` meet.
void arrive(Barrier& barrier, unsigned threads) {
  if (++barrier.arrived >= threads) {
    barrier.arrived = 0;
    wake(barrier.waiters);
  }
}

void arrive_and_wait(Barrier& barrier, unsigned threads) {
  if (barrier.arrived + 1 >= threads) {
    arrive(barrier, threads);
  } else {
    ++barrier.arrived;
    rest(barrier.waiters);
  }
}

bool ignores_barrier(unsigned id) {
  return ignores(Ignored::What::kNamedBarrier, id, current().barriers_met[id]++);
}

void meet_barrier(unsigned id, unsigned threads) {
  if (id >= std::size(block->named)) fault("barrier " + std::to_string(id) + ", of 16");
  Barrier& barrier = block->named[id];
  if (barrier.arrived > 0 && block->named_threads[id] != threads) {
    fault("barrier " + std::to_string(id) + " is met with different numbers of threads");
  }
  block->named_threads[id] = threads;
}

}  // namespace

void barrier_arrive(unsigned id, unsigned threads) {
  meet_barrier(id, threads);
  if (!ignores_barrier(id)) arrive(block->named[id], threads);
}

void barrier_sync(unsigned id, unsigned threads) {
  meet_barrier(id, threads);
  if (!ignores_barrier(id)) arrive_and_wait(block->named[id], threads);
}

void sync_warp() { arrive_and_wait(current_warp().barrier, current_warp().live); }

ExchangeView exchange(const void* mine, size_t bytes) {
  unsigned char* slots = current_warp().slots[current().exchanges++ % 2];
  std::memcpy(slots + lane() * kExchangeBytes, mine, bytes);
  sync_warp();
  return {slots};
}

}  // namespace seesaw::emulator
