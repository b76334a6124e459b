// Runs a CUDA kernel's source on one CPU thread, to check its logic where there is no GPU: every
// thread of a block is a fiber, and a fiber runs until it waits for others. Slow, exact about who
// sees what, and adversarial about what a GPU leaves open:
//   order   whenever several fibers can go on, it is always the first of the block that does, or
//           always the last: one warpgroup runs as far ahead of the other as barriers allow
//   timing  asynchronous copies and products happen as early or as late as they may
// Shared memory starts as NaN. A block that cannot go on ends the test with an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace seesaw::emulator {

enum class Order { kForward, kBackward };
enum class Timing {
  kEager,        // copies and products as soon as they are asked for
  kLazy,         // copies when nothing else can go on, products when they are waited for
  kLateProducts  // copies eager, products lazy: what is released too early is overwritten
};

struct Conditions {
  Order order = Order::kForward;
  Timing timing = Timing::kEager;
};
inline Conditions conditions;  // of the next launches

struct Dim {
  unsigned x = 0;
  unsigned y = 0;
};
inline Dim thread_index;
inline Dim block_index;

inline constexpr size_t kSharedBytes = 232448;  // what a Hopper block may use
unsigned char* shared_memory();

// Runs blocks_x * blocks_y blocks of `threads` fibers, one block after the other.
void run_grid(unsigned blocks_x, unsigned blocks_y, unsigned threads,
              const std::function<void()>& thread);

// The calling fiber rests while *word == value.
void wait_while_equal(const unsigned* word, unsigned value);

// A counting barrier: the generation changes when the last of `threads` arrives.
struct Barrier {
  unsigned generation = 0;
  unsigned arrived = 0;
};
void arrive(Barrier& barrier, unsigned threads);
void arrive_and_wait(Barrier& barrier, unsigned threads);
Barrier& named_barrier(unsigned id);  // of the current block; 0 is __syncthreads
unsigned block_threads();

// One exchange among the 32 lanes of the calling warp: every lane gives `bytes` bytes and gets a
// view of all lanes' bytes, valid until its next exchange but one.
inline constexpr size_t kExchangeBytes = 32;
struct ExchangeView {
  const unsigned char* bytes;  // lane l at l * kExchangeBytes
};
ExchangeView exchange(const void* mine, size_t bytes);

// What asynchronous units do: at once, or (lazy) when nothing else can go on.
void copy_asynchronously(std::function<void()> copy);

// Products of the calling fiber: `product` runs at once, or when the fiber waits for its group.
void issue_product(std::function<void()> product);
void commit_products();
void wait_for_products(size_t groups_left);

// An mbarrier, by its address in shared memory.
void mbarrier_init(uint32_t address, int arrivals);
void mbarrier_arrive(uint32_t address, int expected_bytes);
void mbarrier_complete(uint32_t address, int bytes);
void mbarrier_wait(uint32_t address, uint32_t parity);

}  // namespace seesaw::emulator
