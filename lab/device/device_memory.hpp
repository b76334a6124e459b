// Device memory for tests and benchmarks: owned buffers, copies, and CUDA errors as exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace seesaw::lab {

inline void must(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
  }
}

// Device memory that grows when asked and never shrinks, so that thousands of cases can reuse it.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(size_t bytes) { reserve(bytes); }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // At least `bytes` of memory; the contents are lost if it has to grow.
  void* reserve(size_t bytes) {
    if (bytes > bytes_) {
      cudaFree(data_);
      data_ = nullptr;
      bytes_ = 0;
      must(cudaMalloc(&data_, bytes), "cudaMalloc");
      bytes_ = bytes;
    }
    return data_;
  }

  // Every byte, or the first `bytes`, 0xFF: NaN as bfloat16, float16 and float32, -1 as int32.
  void poison(size_t bytes, cudaStream_t stream) const {
    must(cudaMemsetAsync(data_, 0xFF, bytes < bytes_ ? bytes : bytes_, stream), "cudaMemsetAsync");
  }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

template <typename T>
void copy_to_device(const std::vector<T>& from, void* to, cudaStream_t stream) {
  must(cudaMemcpyAsync(to, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice, stream),
       "cudaMemcpyAsync to the device");
  must(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

template <typename T>
std::vector<T> copy_to_host(const void* from, size_t count, cudaStream_t stream) {
  std::vector<T> to(count);
  must(cudaMemcpyAsync(to.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost, stream),
       "cudaMemcpyAsync to the host");
  must(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  return to;
}

// A stream that does not wait for the default stream.
class Stream {
 public:
  Stream() { must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }
  void wait() const { must(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace seesaw::lab
