#include "gpu/launch.cuh"

#include <string>

#include "base/message.hpp"

namespace seesaw::gpu {

Status KernelSetup::prepare_first(int32_t device) {
  constexpr char kWhere[] = "launch";
  const bool most = needs_.dynamic_shared_bytes == kMostDynamicSharedBytes;
  if (needs_.dynamic_shared_bytes != 0) {
    const int bytes =
        most ? device_of(device).properties->max_shared_bytes : needs_.dynamic_shared_bytes;
    SEESAW_RETURN_IF_ERROR(
        status_of(cudaFuncSetAttribute(kernel_, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                  kWhere, "asking for shared memory"));
  }
  if (most) {
    SEESAW_RETURN_IF_ERROR(
        status_of(cudaFuncSetAttribute(kernel_, cudaFuncAttributePreferredSharedMemoryCarveout,
                                       cudaSharedmemCarveoutMaxShared),
                  kWhere, "asking for shared memory of an SM"));
  }
  if (needs_.registers > 0) {
    cudaFuncAttributes got;
    SEESAW_RETURN_IF_ERROR(
        status_of(cudaFuncGetAttributes(&got, kernel_), kWhere, "reading a kernel's attributes"));
    if (got.numRegs < needs_.registers) {
      return device_error(four_part_message(
          std::string(kWhere) + ": " + needs_.name,
          std::to_string(got.numRegs) + " registers a thread in this build",
          std::to_string(needs_.registers) +
              " and more, which its warps share out anew (setmaxnreg)",
          "Build the library without -G and -maxrregcount, with the CUDA toolkit it was made "
          "for."));
    }
  }
  prepared_[word_of(device)].fetch_or(bit_of(device), std::memory_order_release);
  return {};
}

}  // namespace seesaw::gpu
