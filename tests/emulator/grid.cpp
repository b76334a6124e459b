// A grid, block by block, and the grid that it depends on.
#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "block.hpp"

namespace seesaw::emulator {

using namespace detail;

namespace {

// A grid under way, and what is outside of it.
struct Running {
  const Grid* grid;
  bool waited = false;  // for the one before
};

Running* running = nullptr;

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

// Runs the grid that the running one depends on, in the middle of one of its blocks.
void run_previous_grid() {
  unsigned char* const shared = shared_memory();
  const std::vector<unsigned char> kept(shared, shared + block->shared_bytes);
  const auto indices = std::tuple(thread_index, block_index, block_size, grid_size);
  const Scoped deeper(depth, depth + 1);
  running->grid->previous();
  std::tie(thread_index, block_index, block_size, grid_size) = indices;
  std::copy(kept.begin(), kept.end(), shared);
}

void run_block(const Grid& grid, const std::function<void()>& thread) {
  Block state;
  const Scoped inside(block, &state);
  state.thread = &thread;
  state.shared_bytes = grid.shared_bytes;
  start_shared_memory();
  make_fibers(grid.threads);
  run_fibers();
}

}  // namespace

void detail::end_previous_grid() {
  if (running->grid->previous && !running->waited) run_previous_grid();
  running->waited = true;
  wake(block->for_previous_grid);
}

void fault(const std::string& what) { throw Fault("emulator: " + what); }

unsigned block_threads() { return static_cast<unsigned>(block->fibers.size()); }

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

}  // namespace seesaw::emulator
