// The microkernel of AMX with its tiles in plain C++: the same source, order and bits, on any CPU.
#include "cpu/select.hpp"
#include "cpu/tile_microkernel.hpp"

namespace seesaw::cpu {

const Microkernel& emulated_amx_microkernel() {
  const Target target = best_target(Target::kAvx512);
  static const Microkernel kernel = tile_microkernel<EmulatedTiles>(
      "emulated-amx (bf16 tiles in plain C++)", float_microkernel(target), record_packers(target));
  return kernel;
}

}  // namespace seesaw::cpu
