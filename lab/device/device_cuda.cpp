#include "lab/device/device_cuda.hpp"

#include <cuda_runtime_api.h>

#include "seesaw/seesaw.hpp"

namespace seesaw::lab {
namespace {

// What CUDA could not do is the machine's failure, not the input's.
void must(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw Error(SEESAW_DEVICE_ERROR, std::string("cuda: ") + what + " failed with " +
                                         cudaGetErrorName(error) + " (" +
                                         cudaGetErrorString(error) +
                                         "), needed: success. Check the GPU with nvidia-smi.");
  }
}

class CudaDevice : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    must(cudaSetDevice(index), "selecting the GPU");
    cudaDeviceProp properties;
    must(cudaGetDeviceProperties(&properties, index), "reading the GPU's name");
    name_ = properties.name;
    must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
    must(cudaEventCreate(&begin_), "creating an event");
    must(cudaEventCreate(&end_), "creating an event");
  }
  ~CudaDevice() override {
    cudaEventDestroy(end_);
    cudaEventDestroy(begin_);
    cudaStreamDestroy(stream_);
  }

  seesaw_device id() const override { return {SEESAW_CUDA, index_}; }
  std::string name() const override { return name_; }
  bool is_host() const override { return false; }
  void* stream() const override { return stream_; }

  void* allocate(size_t size_bytes) override {
    void* memory = nullptr;
    must(cudaMalloc(&memory, size_bytes > 0 ? size_bytes : 1), "allocating GPU memory");
    return memory;
  }
  void release(void* memory) noexcept override { cudaFree(memory); }

  void copy_in(void* to, const void* from_host, size_t size_bytes) override {
    must(cudaMemcpyAsync(to, from_host, size_bytes, cudaMemcpyHostToDevice, stream_),
         "copying to the GPU");
    synchronise();  // the host's memory may go
  }
  void copy_out(void* to_host, const void* from, size_t size_bytes) override {
    must(cudaMemcpyAsync(to_host, from, size_bytes, cudaMemcpyDeviceToHost, stream_),
         "copying from the GPU");
    synchronise();
  }
  void synchronise() override { must(cudaStreamSynchronize(stream_), "waiting for the GPU"); }

  double time_us(const std::function<void()>& work) override {
    must(cudaEventRecord(begin_, stream_), "recording an event");
    work();
    must(cudaEventRecord(end_, stream_), "recording an event");
    synchronise();
    float ms = 0.0F;
    must(cudaEventElapsedTime(&ms, begin_, end_), "reading a time");
    return static_cast<double>(ms) * 1e3;
  }

 private:
  int index_;
  std::string name_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

}  // namespace

std::unique_ptr<Device> open_cuda_device(int index) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || index >= count) {
    cudaGetLastError();
    const std::string found = error != cudaSuccess ? cudaGetErrorString(error)
                                                   : std::to_string(count) + " CUDA devices here";
    throw Error(SEESAW_NOT_SUPPORTED,
                "--device: cuda:" + std::to_string(index) + " (" + found +
                    "), allowed: cpu, or a CUDA device that exists. Choose another device.");
  }
  return std::make_unique<CudaDevice>(index);
}

}  // namespace seesaw::lab
