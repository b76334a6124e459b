// The emulator's side of src/gpu/ptx/registers.cuh: there are as many registers as anybody likes.
#pragma once

namespace seesaw::ptx {

template <typename T>
T opaque(T value) {
  return value;
}
template <int kRegisters>
void raise_registers() {}
template <int kRegisters>
void lower_registers() {}

}  // namespace seesaw::ptx
