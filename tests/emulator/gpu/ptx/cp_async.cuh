// The emulator's side of src/gpu/ptx/cp_async.cuh.
#pragma once

#include <cuda_runtime.h>

namespace seesaw::ptx {

inline void copy_async_16(uint32_t destination, const void* source, bool valid) {
  if (destination % 16 != 0 || (valid && reinterpret_cast<uintptr_t>(source) % 16 != 0)) {
    emulator::fault("cp.async of 16 bytes at no multiple of 16");
  }
  emulator::copy_by_thread([=] {
    unsigned char* to = emulator::shared_at(destination, 16);
    if (valid) {
      std::memcpy(to, source, 16);
    } else {
      std::memset(to, 0, 16);
    }
    emulator::note_write(destination, 16);
  });
}
inline void copy_async_wait_all() { emulator::wait_for_own_copies(); }

}  // namespace seesaw::ptx
