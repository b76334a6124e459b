#include "gpu/faults.hpp"

#include <cuda_runtime_api.h>

#include <array>
#include <atomic>
#include <mutex>

#include "base/message.hpp"
#include "gpu/device.hpp"

namespace seesaw::gpu {
namespace {

// Never freed: a kernel may write to the end.
struct Words {
  std::mutex allocating;
  std::array<std::atomic<Fault*>, kMaxDevices> word{};
};

Words& words() {
  static Words instance;
  return instance;
}

// An allocation is refused while this thread captures, unless it says that it knows.
cudaError_t allocate(Fault** word) {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaError_t error = cudaThreadExchangeStreamCaptureMode(&mode);
  if (error != cudaSuccess) {
    return error;
  }
  void* memory = nullptr;
  error = cudaHostAlloc(&memory, sizeof(Fault), cudaHostAllocPortable | cudaHostAllocMapped);
  const cudaError_t restored = cudaThreadExchangeStreamCaptureMode(&mode);
  if (error == cudaSuccess) {
    *word = static_cast<Fault*>(memory);
    **word = Fault::kNone;
  }
  return error != cudaSuccess ? error : restored;
}

}  // namespace

Status fault_word(int32_t index, Fault** word) {
  std::atomic<Fault*>& place = words().word[static_cast<size_t>(index)];
  *word = place.load(std::memory_order_acquire);
  if (*word != nullptr) {
    return {};
  }
  const std::lock_guard<std::mutex> lock(words().allocating);
  *word = place.load(std::memory_order_relaxed);
  if (*word == nullptr) {
    SEESAW_RETURN_IF_ERROR(
        status_of(allocate(word), "plan", "allocating a word of host memory for reports"));
    place.store(*word, std::memory_order_release);
  }
  return {};
}

Status take_fault(int32_t index, const char* where) {
  Fault* word = words().word[static_cast<size_t>(index)].load(std::memory_order_acquire);
  if (word == nullptr) {
    return {};
  }
  std::atomic_ref<Fault> shared(*word);
  if (shared.load(std::memory_order_relaxed) == Fault::kNone) {
    return {};
  }
  switch (shared.exchange(Fault::kNone)) {
    case Fault::kNone:
      return {};  // another thread was told
    case Fault::kForeignSchedule:
      return invalid_argument(four_part_message(
          where, "an earlier run on this device had a schedule that its plan did not make",
          "the plan's own schedule, for as many sequences as the call brings",
          "Its outputs are NaN. Prepare the schedule with the plan that runs it."));
    case Fault::kStaleSchedule:
      return invalid_argument(four_part_message(
          where, "an earlier run on this device had a schedule made for other lengths",
          "a schedule of exactly the call's seq_lens",
          "Its outputs are NaN where they differ. Prepare again whenever seq_lens change."));
  }
  return {};
}

}  // namespace seesaw::gpu
