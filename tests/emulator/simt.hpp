// Runs a CUDA kernel's source on one CPU thread, to check its logic where there is no GPU: every
// thread of a block is a fiber, and a fiber runs until it waits for others. Slow, exact about who
// sees what, and adversarial about what a GPU leaves open:
//   order   whenever several fibers can go on, it is always the first of the block that does, or
//           always the last: one warpgroup runs as far ahead of the other as barriers allow; or any
//   timing  asynchronous copies and products happen as early or as late as they may
// Shared memory starts as NaN. A block that cannot go on ends in a Fault. Any wait can be ignored,
// which shows whether it is needed (Ignored).
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace seesaw::emulator {

enum class Order { kForward, kBackward, kShuffled };
enum class Timing {
  kEager,        // copies and products as soon as they are asked for
  kLazy,         // copies when nothing else can go on, those that somebody waits for before older
                 // ones; products when they are waited for
  kLateProducts  // copies eager, products lazy: what is released too early is overwritten
};

// A wait that kernels do without, as if its line had been deleted.
struct Ignored {
  enum class What {
    kNothing,
    kNamedBarrier,  // `which`: its number. Arrivals and waits both
    kMbarrier,      // `which`: its address in shared memory. Waits only: without arrivals nobody
                    // would get past them
    kCopyWaits,     // cp.async.wait_all
    kProductWaits,  // wgmma.wait_group
    kProxyFences,   // fence.proxy.async
    kGridWaits,     // griddepcontrol.wait
  };
  enum class Turns { kAll, kEven, kOdd };  // of those that a thread comes to, from 0

  What what = What::kNothing;
  uint32_t which = 0;
  Turns turns = Turns::kAll;
  unsigned thread_begin = 0;  // threads [thread_begin, thread_end) of a block
  unsigned thread_end = ~0U;
};

struct Conditions {
  Order order = Order::kForward;
  Timing timing = Timing::kEager;
  Ignored ignored = {};
  int shared_starts_as = 0xFF;  // every byte of shared memory: NaN, or 0x41 for numbers near 12
  unsigned seed = 0;            // of kShuffled
};
inline Conditions conditions;  // of the next launches

// Conditions for as long as this lives.
class UnderConditions {
 public:
  explicit UnderConditions(const Conditions& wanted) : before_(conditions) { conditions = wanted; }
  ~UnderConditions() { conditions = before_; }
  UnderConditions(const UnderConditions&) = delete;
  UnderConditions& operator=(const UnderConditions&) = delete;

 private:
  Conditions before_;
};

// What a GPU would answer with a trap, a hang or garbage.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fault(const std::string& what);

struct Dim {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};
inline Dim thread_index;
inline Dim block_index;
inline Dim block_size;
inline Dim grid_size;

// What a launch depends on: see runtime.hpp.
enum class Edge { kFull, kProgrammatic };

struct Grid {
  Dim blocks;
  unsigned threads = 1;  // of a block: one dimension
  size_t shared_bytes = 0;
  Edge edge = Edge::kFull;
  std::function<void()> previous = {};  // what its wait for the previous grid still has to run
};

// Runs a grid of fibers, one block after the other. Throws Fault.
void run_grid(const Grid& grid, const std::function<void()>& thread);

// ---- what follows is for a running fiber

inline constexpr size_t kSharedBytes = 232448;  // what a Hopper block may use
unsigned char* shared_memory();
// Where [address, address + bytes) of shared memory is; a fault if the block has not so much.
unsigned char* shared_at(uint32_t address, size_t bytes);
uint32_t shared_address(const void* pointer);

// The fibers of a block that wait for one thing.
inline constexpr size_t kMostThreads = 1024;
using Waiters = std::bitset<kMostThreads>;

// A counting barrier.
struct Barrier {
  unsigned arrived = 0;
  Waiters waiters;
};

// Named barriers: `threads` in all arrive, or arrive and wait. Whole warps meet them.
void barrier_arrive(unsigned id, unsigned threads);
void barrier_sync(unsigned id, unsigned threads);
unsigned block_threads();
void sync_warp();  // the lanes of the warp that have not ended

// One exchange among the lanes of the calling warp: every lane gives `bytes` bytes and gets a view
// of all lanes' bytes, valid until its next exchange but one.
inline constexpr size_t kExchangeBytes = 32;
struct ExchangeView {
  const unsigned char* bytes;  // lane l at l * kExchangeBytes
};
ExchangeView exchange(const void* mine, size_t bytes);

// What a copy engine does: at once, or (lazy) when nothing else can go on; then `bytes` complete on
// an mbarrier. A block that ends before its copies is a fault.
void copy_asynchronously(uint32_t mbarrier, int bytes, std::function<void()> copy);
// The calling thread's own copies: at once, or when it waits for them. A group is the copies since
// the last one.
void copy_by_thread(std::function<void()> copy);
void commit_own_copies();
void wait_for_own_groups(size_t groups_left);  // the last ones
void wait_for_own_copies();

// A product of 16 rows, which a warp issues lane by lane; it exists when all lanes have.
struct WarpProduct {
  struct Lane {
    float* accumulators;
    uint32_t a[4];  // fragments, if A is in registers
  };
  using Run = void (*)(const WarpProduct&);

  Run run;
  uint32_t a;  // descriptors
  uint32_t b;
  bool accumulate;
  unsigned warp;  // of the warpgroup
  unsigned issued = 0;
  Lane lanes[32];
};
// `product`: lanes[lane()] is filled.
void issue_product(const WarpProduct& product);
void commit_products();
// Until at most groups_left groups are under way. The warp goes on together.
void wait_for_products(size_t groups_left);

// griddepcontrol. A grid with a programmatic edge has to wait before it releases others, and before
// it ends; what it waits for runs when nothing else in the block can go on.
void wait_for_previous_grid();
void release_next_grid();

// An mbarrier, by its address in shared memory.
void mbarrier_init(uint32_t address, int arrivals);
void mbarrier_arrive(uint32_t address, int expected_bytes);
void mbarrier_wait(uint32_t address, uint32_t parity);
bool mbarrier_test(uint32_t address, uint32_t parity);  // whether it would not wait

// Ordinary writes to shared memory, which products and copy engines may read only behind their
// thread's fence. note_write: by the calling thread; check_published: a fault if some were not.
void note_write(uint32_t address, size_t bytes);
void publish_writes();
void check_published(uint32_t address, size_t bytes);

}  // namespace seesaw::emulator
