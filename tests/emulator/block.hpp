// The block under way: what the sources behind simt.hpp share, one subject each.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "simt.hpp"

namespace seesaw::emulator::detail {

inline constexpr unsigned kWarp = 32;

// A thread. It is started once by a ucontext, on its own stack, and from then on switched to and
// from by setjmp and longjmp, which ask the kernel for nothing.
struct Fiber {
  ucontext_t start;
  jmp_buf context;
  bool started = false;
  bool waited_for_grid = false;
  unsigned index = 0;
  unsigned exchanges = 0;
  unsigned barriers_met[16] = {};
  std::map<uint32_t, unsigned> mbarriers_met;
  size_t products_issued = 0;
  std::deque<size_t> group_ends;             // products before the end of each committed group
  std::deque<std::function<void()>> copies;  // its own, not waited for
  std::deque<size_t> groups;                 // copies in each of its committed groups
  size_t grouped_copies = 0;                 // of `copies`, the first
  std::vector<uint16_t> unpublished;         // chunks of shared memory that it wrote
};

struct Warp {
  Barrier barrier;
  unsigned live = 0;                               // lanes that have not ended
  unsigned char slots[2][kWarp * kExchangeBytes];  // exchanges alternate: one barrier is enough
  std::deque<WarpProduct> products;                // not done, oldest first
  size_t products_done = 0;
};

struct Copy {
  uint32_t mbarrier;
  int bytes;
  std::function<void()> run;
};

struct MBarrier {
  int arrivals = 0;
  int pending = 0;
  int bytes = 0;        // announced minus arrived
  unsigned parity = 0;  // of the phase under way
  Waiters waiters;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  size_t shared_bytes = 0;
  Waiters ready;
  Barrier named[16];
  unsigned named_threads[16] = {};
  std::map<uint32_t, MBarrier> mbarriers;
  std::deque<Copy> copies;  // asked for, not done
  Waiters for_previous_grid;
  std::vector<uint16_t> writer;  // of each chunk: 1 + the thread that has not published it, or 0
  jmp_buf scheduler;
  Fiber* current = nullptr;
  std::minstd_rand random;  // of Order::kShuffled
  unsigned ended = 0;
  const std::function<void()>* thread = nullptr;
  std::optional<std::string> fault;
};

inline Block* block = nullptr;  // null between blocks
inline size_t depth = 0;        // of grids within grids

inline Fiber& current() { return *block->current; }
inline Warp& current_warp() { return block->warps[current().index / kWarp]; }
inline unsigned lane() { return current().index % kWarp; }

// ---- fibers.cpp

void make_fibers(unsigned threads);
// Runs fibers, and copies that nobody has waited for yet, until all have ended.
void run_fibers();
// The calling fiber stops until somebody wakes `waiters`.
void rest(Waiters& waiters);
void wake(Waiters& waiters);

// ---- copies.cpp

// The oldest copy that somebody waits for, else the oldest.
void run_copy();

// ---- grid.cpp

// Runs what the running grid depends on, if it has not run, and wakes who waits for it.
void end_previous_grid();

// ---- ignored.cpp

// Whether the calling thread is to go past this wait. `met`: how many of the same it has come to.
bool ignores(Ignored::What what, uint32_t which, unsigned met);
bool ignores_all(Ignored::What what);

// ---- shared_memory.cpp

void start_shared_memory();  // of a new block: nobody has written to it

}  // namespace seesaw::emulator::detail
