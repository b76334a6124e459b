// The emulator's side of src/gpu/ptx/cp_async.cuh.
#pragma once

#include <cuda_runtime.h>

namespace seesaw::ptx {

// `bytes` of a copy of `size`, and zeros behind.
inline void emulated_copy(uint32_t destination, const void* source, int bytes, uint32_t size) {
  if (destination % size != 0 || (bytes > 0 && reinterpret_cast<uintptr_t>(source) % size != 0)) {
    emulator::fault("cp.async at no multiple of its size");
  }
  emulator::copy_by_thread([=] {
    unsigned char* to = emulator::shared_at(destination, size);
    std::memset(to, 0, size);
    std::memcpy(to, source, static_cast<size_t>(bytes));
    emulator::note_write(destination, size);
  });
}
inline void copy_async_16(uint32_t destination, const void* source, bool valid) {
  emulated_copy(destination, source, valid ? 16 : 0, 16);
}
inline void copy_async_16_if(bool wanted, uint32_t destination, const void* source, bool valid) {
  if (wanted) emulated_copy(destination, source, valid ? 16 : 0, 16);
}
inline void copy_async_4(uint32_t destination, const void* source, bool valid) {
  emulated_copy(destination, source, valid ? 4 : 0, 4);
}
inline void copy_async_commit() { emulator::commit_own_copies(); }
template <int kPending>
void copy_async_wait() {
  emulator::wait_for_own_groups(kPending);
}
inline void copy_async_wait_all() { emulator::wait_for_own_copies(); }

inline void copy_async_arrive(uint32_t barrier) {
  emulator::copy_by_thread([=] { emulator::mbarrier_arrive(barrier, 0); });
}

}  // namespace seesaw::ptx
