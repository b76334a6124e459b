#include "simt.hpp"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace seesaw::emulator {
namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kChunkBytes = 16;  // that writes are noted by
constexpr unsigned kWarp = 32;

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

// A grid under way, and what is outside of it.
struct Running {
  const Grid* grid;
  bool waited = false;  // for the one before
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
  unsigned ended = 0;
  const std::function<void()>* thread = nullptr;
  std::optional<std::string> fault;
};

Block* block = nullptr;
Running* running = nullptr;
size_t depth = 0;  // of grids within grids
alignas(1024) unsigned char shared[kSharedBytes];

// A value for as long as this lives.
template <typename T>
class Scoped {
 public:
  Scoped(T& place, T value) : place_(place), before_(std::exchange(place, value)) {}
  ~Scoped() { place_ = before_; }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

 private:
  T& place_;
  T before_;
};

// Kept from block to block. Not cleared: registers start as anything.
char* stack_of(unsigned index) {
  static std::vector<std::unique_ptr<char[]>> stacks[2];
  auto& of_depth = stacks[depth];
  while (of_depth.size() <= index) of_depth.emplace_back(new char[kStackBytes]);
  return of_depth[index].get();
}

Fiber& current() { return *block->current; }
Warp& current_warp() { return block->warps[current().index / kWarp]; }
unsigned lane() { return current().index % kWarp; }

void wake(Waiters& waiters) {
  block->ready |= waiters;
  waiters.reset();
}

// The calling fiber stops until somebody wakes `waiters`.
void rest(Waiters& waiters) {
  Fiber& fiber = current();
  waiters.set(fiber.index);
  block->ready.reset(fiber.index);
  if (_setjmp(fiber.context) == 0) _longjmp(block->scheduler, 1);
}

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
  unsigned index = static_cast<unsigned>(block->fibers.size());
  while (!block->ready.test(--index)) {
  }
  return index;
}

void make_fibers(unsigned threads) {
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

// The oldest copy that somebody waits for, else the oldest.
void run_copy() {
  auto chosen = std::find_if(block->copies.begin(), block->copies.end(), [](const Copy& copy) {
    return mbarrier(copy.mbarrier).waiters.any();
  });
  if (chosen == block->copies.end()) chosen = block->copies.begin();
  const Copy copy = std::move(*chosen);
  block->copies.erase(chosen);
  complete(copy);
}

std::string list_waiting() {
  std::string list;
  const size_t count = block->fibers.size();
  Waiters waiting;
  const auto add = [&](const Waiters& waiters, const std::string& what) {
    if (waiters.none()) return;
    list += list.empty() ? " " : "; ";
    list += std::to_string(waiters.count()) + " at " + what + ", the first thread " +
            std::to_string(waiters._Find_first());
    waiting |= waiters;
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

// Runs the grid that the running one depends on, in the middle of one of its blocks.
void run_previous_grid() {
  const std::vector<unsigned char> kept(shared, shared + block->shared_bytes);
  const auto indices = std::tuple(thread_index, block_index, block_size, grid_size);
  const Scoped deeper(depth, depth + 1);
  running->grid->previous();
  std::tie(thread_index, block_index, block_size, grid_size) = indices;
  std::copy(kept.begin(), kept.end(), shared);
}

void end_previous_grid() {
  if (running->grid->previous && !running->waited) run_previous_grid();
  running->waited = true;
  wake(block->for_previous_grid);
}

// Runs fibers, and copies that nobody has waited for yet, until all have ended.
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

void run_block(const Grid& grid, const std::function<void()>& thread) {
  Block state;
  const Scoped inside(block, &state);
  state.thread = &thread;
  state.shared_bytes = grid.shared_bytes;
  state.writer.assign(kSharedBytes / kChunkBytes, 0);
  std::memset(shared, conditions.shared_starts_as, sizeof(shared));
  make_fibers(grid.threads);
  run_fibers();
}

// Whether the calling thread is to go past this wait. `met`: how many of the same it has come to.
bool ignores(Ignored::What what, uint32_t which, unsigned met) {
  const Ignored& ignored = conditions.ignored;
  return ignored.what == what && ignored.which == which &&
         current().index >= ignored.thread_begin && current().index < ignored.thread_end &&
         (ignored.turns == Ignored::Turns::kAll ||
          (met % 2 == 1) == (ignored.turns == Ignored::Turns::kOdd));
}
bool ignores_all(Ignored::What what) { return ignores(what, conditions.ignored.which, 0); }

bool ignores_barrier(unsigned id) {
  return ignores(Ignored::What::kNamedBarrier, id, current().barriers_met[id]++);
}

void run_oldest(Warp& warp) {
  const WarpProduct& product = warp.products.front();
  product.run(product);
  warp.products.pop_front();
  ++warp.products_done;
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

void fault(const std::string& what) { throw Fault("emulator: " + what); }

unsigned char* shared_memory() { return shared; }
unsigned block_threads() { return static_cast<unsigned>(block->fibers.size()); }

unsigned char* shared_at(uint32_t address, size_t bytes) {
  if (address + bytes > block->shared_bytes) {
    fault("shared memory at " + std::to_string(address) + ", the block has " +
          std::to_string(block->shared_bytes) + " bytes");
  }
  return shared + address;
}

uint32_t shared_address(const void* pointer) {
  const auto* byte = static_cast<const unsigned char*>(pointer);
  if (byte < shared || byte >= shared + kSharedBytes) fault("no address in dynamic shared memory");
  return static_cast<uint32_t>(byte - shared);
}

void run_grid(const Grid& grid, const std::function<void()>& thread) {
  if (grid.shared_bytes > kSharedBytes) {
    fault("shared memory = " + std::to_string(grid.shared_bytes) +
          " bytes, allowed: up to 232448. Use smaller tiles.");
  }
  if (grid.threads > kMostThreads) fault("more than 1024 threads a block");
  Running state{&grid};
  const Scoped inside(running, &state);
  block_size = {grid.threads, 1, 1};
  grid_size = grid.blocks;
  for (unsigned z = 0; z < grid.blocks.z; ++z) {
    for (unsigned y = 0; y < grid.blocks.y; ++y) {
      for (unsigned x = 0; x < grid.blocks.x; ++x) {
        block_index = {x, y, z};
        run_block(grid, thread);
      }
    }
  }
  if (grid.edge == Edge::kProgrammatic && !state.waited) {
    fault("a grid with a programmatic edge ended without waiting for the one before it");
  }
}

void wait_for_previous_grid() {
  current().waited_for_grid = true;
  if (running->waited || ignores_all(Ignored::What::kGridWaits)) return;
  rest(block->for_previous_grid);
}

void release_next_grid() {
  if (running->grid->edge == Edge::kProgrammatic && !current().waited_for_grid) {
    fault("a grid releases the next one before it has waited for the one before it");
  }
}

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

void issue_product(const WarpProduct& product) {
  Warp& warp = current_warp();
  const size_t place = current().products_issued++ - warp.products_done;
  if (place == warp.products.size()) warp.products.push_back(product);
  WarpProduct& whole = warp.products[place];
  if (whole.run != product.run || whole.a != product.a || whole.b != product.b ||
      whole.accumulate != product.accumulate) {
    fault("the lanes of a warp issue different products");
  }
  whole.lanes[lane()] = product.lanes[lane()];
  if (++whole.issued == kWarp && conditions.timing == Timing::kEager) run_oldest(warp);
}

void commit_products() { current().group_ends.push_back(current().products_issued); }

void wait_for_products(size_t groups_left) {
  if (ignores_all(Ignored::What::kProductWaits)) return;
  sync_warp();  // so every lane has issued what is waited for
  std::deque<size_t>& ends = current().group_ends;
  for (; ends.size() > groups_left; ends.pop_front()) {
    Warp& warp = current_warp();
    while (warp.products_done < ends.front()) run_oldest(warp);
  }
}

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

void note_write(uint32_t address, size_t bytes) {
  for (size_t chunk = address / kChunkBytes; chunk <= (address + bytes - 1) / kChunkBytes;
       ++chunk) {
    const auto writer = static_cast<uint16_t>(current().index + 1);
    if (block->writer[chunk] == writer) continue;
    block->writer[chunk] = writer;
    current().unpublished.push_back(static_cast<uint16_t>(chunk));
  }
}

void publish_writes() {
  if (ignores_all(Ignored::What::kProxyFences)) return;
  for (const uint16_t chunk : current().unpublished) {
    if (block->writer[chunk] == current().index + 1) block->writer[chunk] = 0;
  }
  current().unpublished.clear();
}

void check_published(uint32_t address, size_t bytes) {
  for (size_t chunk = address / kChunkBytes; chunk <= (address + bytes - 1) / kChunkBytes;
       ++chunk) {
    if (block->writer[chunk] != 0) {
      fault("shared memory at " + std::to_string(chunk * kChunkBytes) + ", written by thread " +
            std::to_string(block->writer[chunk] - 1) +
            ", is read by a product before that thread's fence.proxy.async");
    }
  }
}

}  // namespace seesaw::emulator
