// A pipeline between asynchronous roles: a buffer is filled by one side and emptied by the other,
// in turn. Two barriers stand between them: `full` opens when a filling has arrived, `empty` when
// all its readers have let it go. An mbarrier is waited for by the parity of its phase; here both
// sides count fillings (Turn), and nobody else sees a parity. So a role waits for every phase of a
// barrier, or knows by other means that the phase before the one it waits for is over: a parity is
// that of the phase before the last, too.
#pragma once

#include <cstdint>

#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/mbarrier.cuh"

namespace seesaw::gpu {

// Which filling of a buffer a role is at, from 0.
class Turn {
 public:
  __device__ __forceinline__ explicit Turn(uint32_t number = 0) : number_(number) {}
  __device__ __forceinline__ void advance() { ++number_; }
  __device__ __forceinline__ uint32_t number() const { return number_; }
  // The place of this filling among two that are used in turn.
  __device__ __forceinline__ int slot() const { return static_cast<int>(number_ & 1); }

 private:
  friend struct FullBarrier;
  friend struct EmptyBarrier;
  // Of the phase that completes when this filling has arrived, or been let go.
  __device__ __forceinline__ uint32_t parity() const { return number_ & 1; }
  // Of the phase before it: an mbarrier begins as if one of parity 1 had completed, so the first
  // filling waits for nothing.
  __device__ __forceinline__ uint32_t parity_before() const { return (number_ & 1) ^ 1; }

  uint32_t number_;
};

// Which filling of a ring of kSlots buffers a role is at, from 0: the buffers are filled in turn.
template <uint32_t kSlots>
class RingTurn {
 public:
  __device__ __forceinline__ explicit RingTurn(uint32_t number = 0) : number_(number) {}
  __device__ __forceinline__ void advance() { ++number_; }
  __device__ __forceinline__ uint32_t number() const { return number_; }
  __device__ __forceinline__ int slot() const { return static_cast<int>(number_ % kSlots); }
  __device__ __forceinline__ Turn turn() const { return Turn(number_ / kSlots); }  // of the slot

 private:
  uint32_t number_;
};

// Opens when the buffer has been filled.
struct FullBarrier {
  uint32_t address;  // in shared memory

  __device__ __forceinline__ void init(int arrivals) const {
    ptx::mbarrier_init(address, arrivals);
  }
  // Until filling `turn` is there: by one thread, or by a whole warp.
  __device__ __forceinline__ void wait(Turn turn) const {
    ptx::mbarrier_wait(address, turn.parity());
  }
  __device__ __forceinline__ void wait_warp(Turn turn) const {
    ptx::mbarrier_wait_warp(address, turn.parity());
  }
  // Whether that wait would end at once.
  __device__ __forceinline__ bool is_open(Turn turn) const {
    return ptx::mbarrier_test(address, turn.parity());
  }
  // Announces copies of `bytes` that complete on this barrier, and arrives.
  __device__ __forceinline__ void expect(int bytes) const {
    ptx::mbarrier_arrive_expect(address, bytes);
  }
  __device__ __forceinline__ void arrive() const { ptx::mbarrier_arrive(address); }
  // When the thread's own copies have landed.
  __device__ __forceinline__ void arrive_behind_copies() const { ptx::copy_async_arrive(address); }
};

// Opens when the buffer may be filled.
struct EmptyBarrier {
  uint32_t address;  // in shared memory

  __device__ __forceinline__ void init(int arrivals) const {
    ptx::mbarrier_init(address, arrivals);
  }
  // Until there is room for filling `turn`.
  __device__ __forceinline__ void wait(Turn turn) const {
    ptx::mbarrier_wait(address, turn.parity_before());
  }
  __device__ __forceinline__ void wait_warp(Turn turn) const {
    ptx::mbarrier_wait_warp(address, turn.parity_before());
  }
  // Lets the filling go: one arrival a warp, when all its lanes are done.
  __device__ __forceinline__ void release(int lane) const {
    __syncwarp();
    if (lane == 0) ptx::mbarrier_arrive(address);
  }
};

}  // namespace seesaw::gpu
