// The emulator's side of src/gpu/ptx/mbarrier.cuh.
#pragma once

#include <cuda_runtime.h>

namespace seesaw::ptx {

inline void mbarrier_init(uint32_t barrier, int arrivals) {
  emulator::mbarrier_init(barrier, arrivals);
}
inline void fence_mbarrier_init() {}
inline void mbarrier_arrive(uint32_t barrier) { emulator::mbarrier_arrive(barrier, 0); }
inline void mbarrier_arrive_expect(uint32_t barrier, int bytes) {
  emulator::mbarrier_arrive(barrier, bytes);
}
inline void mbarrier_wait(uint32_t barrier, uint32_t parity) {
  emulator::mbarrier_wait(barrier, parity);
}
inline bool mbarrier_test(uint32_t barrier, uint32_t parity) {
  return emulator::mbarrier_test(barrier, parity);
}
inline void mbarrier_wait_warp(uint32_t barrier, uint32_t parity) {
  mbarrier_wait(barrier, parity);
  __syncwarp();
}
inline void fence_async_proxy() { emulator::publish_writes(); }

}  // namespace seesaw::ptx
