// Where tensors live and calls run, behind the few things that programs need of a device. The CPU
// is in device.cpp; a GPU adds a file of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "seesaw/seesaw.h"

namespace seesaw::lab {

class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  virtual seesaw_device id() const = 0;
  virtual std::string name() const = 0;           // "cpu", or the GPU's product name
  virtual bool is_host() const = 0;               // host memory can be used in place
  virtual void* stream() const = 0;               // a call's; cudaStream_t on a GPU
  virtual void* allocate(size_t size_bytes) = 0;  // aligned to 256; throws
  virtual void release(void* memory) noexcept = 0;
  virtual void copy_in(void* to, const void* from_host, size_t size_bytes) = 0;
  virtual void copy_out(void* to_host, const void* from, size_t size_bytes) = 0;
  virtual void synchronise() = 0;
  // Microseconds from the start to the end of what `work` does or enqueues, waiting for it.
  virtual double time_us(const std::function<void()>& work) = 0;
};

std::string device_text(const seesaw_device& device);  // "cpu", "cuda:0"

// Throws Error if this build or this machine has no such device. Ask the library for a plan first:
// its refusal says more.
std::unique_ptr<Device> open_device(const seesaw_device& device);

// Memory of a device, released when this goes.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Device& device, size_t size_bytes)
      : device_(&device), data_(device.allocate(size_bytes)), size_bytes_(size_bytes) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  ~DeviceBuffer() {
    if (device_ != nullptr) {
      device_->release(data_);
    }
  }

  void* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace seesaw::lab
