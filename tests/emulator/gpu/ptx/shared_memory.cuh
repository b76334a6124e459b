// The emulator's side of src/gpu/ptx/shared_memory.cuh: an address is an offset into the block's
// dynamic shared memory.
#pragma once

#include <cuda_runtime.h>

namespace seesaw::ptx {

inline uint8_t* dynamic_shared() { return emulator::shared_memory(); }

inline uint32_t shared_address(const void* pointer) { return emulator::shared_address(pointer); }

template <typename T>
T& shared_object(uint32_t address) {
  return *reinterpret_cast<T*>(emulator::shared_at(address, sizeof(T)));
}

template <typename T>
T emulated_load(uint32_t address) {
  if (address % sizeof(T) != 0) emulator::fault("a load at no multiple of its size");
  T v;
  std::memcpy(&v, emulator::shared_at(address, sizeof(v)), sizeof(v));
  return v;
}
inline uint4 load_shared_16(uint32_t address) { return emulated_load<uint4>(address); }
inline uint32_t load_shared_4(uint32_t address) { return emulated_load<uint32_t>(address); }
template <typename T>
void emulated_store(uint32_t address, T v) {
  if (address % sizeof(T) != 0) emulator::fault("a store at no multiple of its size");
  std::memcpy(emulator::shared_at(address, sizeof(v)), &v, sizeof(v));
  emulator::note_write(address, sizeof(v));
}
inline void store_shared_16(uint32_t address, uint4 v) { emulated_store(address, v); }
inline void store_shared_4(uint32_t address, uint32_t v) { emulated_store(address, v); }
inline void store_shared_2(uint32_t address, uint16_t v) { emulated_store(address, v); }

}  // namespace seesaw::ptx
