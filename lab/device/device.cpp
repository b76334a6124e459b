#include "lab/device/device.hpp"

#include <chrono>
#include <cstring>
#include <new>

#include "seesaw/seesaw.hpp"
#ifdef SEESAW_WITH_CUDA
#include "lab/device/device_cuda.hpp"
#endif

namespace seesaw::lab {
namespace {

constexpr std::align_val_t kAlignment{256};

// memcpy forbids null pointers even for nothing, and nothing may be at null.
void copy(void* to, const void* from, size_t size_bytes) {
  if (size_bytes > 0) {
    std::memcpy(to, from, size_bytes);
  }
}

class CpuDevice : public Device {
 public:
  seesaw_device id() const override { return {SEESAW_CPU, 0}; }
  std::string name() const override { return "cpu"; }
  bool is_host() const override { return true; }
  void* stream() const override { return nullptr; }
  void* allocate(size_t size_bytes) override { return ::operator new(size_bytes, kAlignment); }
  void release(void* memory) noexcept override { ::operator delete(memory, kAlignment); }
  void copy_in(void* to, const void* from_host, size_t size_bytes) override {
    copy(to, from_host, size_bytes);
  }
  void copy_out(void* to_host, const void* from, size_t size_bytes) override {
    copy(to_host, from, size_bytes);
  }
  void synchronise() override {}
  double time_us(const std::function<void()>& work) override {
    const auto start = std::chrono::steady_clock::now();
    work();
    const auto stop = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::micro>(stop - start).count();
  }
};

}  // namespace

std::string device_text(const seesaw_device& device) {
  return device.type == SEESAW_CUDA ? "cuda:" + std::to_string(device.index) : "cpu";
}

std::unique_ptr<Device> open_device(const seesaw_device& device) {
  if (device.type != SEESAW_CUDA) {
    return std::make_unique<CpuDevice>();
  }
#ifdef SEESAW_WITH_CUDA
  return open_cuda_device(device.index);
#else
  throw Error(SEESAW_NOT_SUPPORTED,
              "--device: " + device_text(device) +
                  ", this build can move tensors to: cpu. Build it with CUDA, or leave it out.");
#endif
}

}  // namespace seesaw::lab
