#include "attention/sm90/host.hpp"

#include <cstdint>
#include <string>

#include "base/message.hpp"

namespace seesaw::attention::sm90 {

Status check_address(const Stream& stream, const char* name) {
  const auto address = reinterpret_cast<uintptr_t>(stream.cache);
  if (address % kChunkBytes == 0) {
    return {};
  }
  return invalid_argument(std::string("attention (sm90): ") + name + " at an address of " +
                          std::to_string(address % kChunkBytes) +
                          " modulo 16, allowed: multiples of 16 bytes. Start the cache on an "
                          "aligned address, or ask for the kernel of sm80.");
}

Status no_trace_of(DType q_type) {
  return not_supported(four_part_message("attention (sm90)",
                                         std::string("a trace of ") + name_of(q_type),
                                         "bfloat16, which the traced variant is compiled for",
                                         "Trace such a problem, or use Nsight Compute."));
}

}  // namespace seesaw::attention::sm90
