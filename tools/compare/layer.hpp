// A contender made ready on a device: its tensors there, and a call of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "compare/shape.hpp"
#include "compare/values.hpp"
#include "lab/device/device.hpp"
#include "laboratory.hpp"
#include "seesaw/baselines.hpp"

namespace seesaw::tools {

// What a layer is fed, in host memory.
struct LayerInputs {
  HostArray x;                     // [b, n, d_model]
  std::vector<HostArray> weights;  // in the order of parameters()
  HostArray cache;                 // [b, capacity, width], or empty
};

// Random inputs: weights of deviation 1 / sqrt(inputs), so that every step keeps numbers near 1.
LayerInputs random_inputs(const BaselineDescriptor& descriptor, uint64_t seed);

// Something that can be timed.
class Runnable {
 public:
  Runnable() = default;
  Runnable(const Runnable&) = delete;
  Runnable& operator=(const Runnable&) = delete;
  virtual ~Runnable() = default;

  virtual void run() = 0;  // enqueues a call
  virtual std::string backend() const = 0;
  virtual uint64_t workspace_bytes() const = 0;  // of the plan
  // Products on float32 copies, because the backend has none of the dtype.
  virtual uint64_t converted_products() const = 0;
};

// A whole layer of the baselines library.
class Layer : public Runnable {
 public:
  Layer(Device& device, const BaselineDescriptor& descriptor, const LayerInputs& inputs);

  void run() override;
  void use(void* workspace, size_t size_bytes);  // before a run
  std::string backend() const override { return plan_.backend(); }
  uint64_t workspace_bytes() const override { return plan_.workspace_bytes(); }
  uint64_t converted_products() const override { return plan_.info().converted_products; }
  std::vector<double> out();  // of the last run

 private:
  void* bring(const HostArray& array);

  Device& device_;
  BaselineDescriptor descriptor_;
  Baseline plan_;
  std::vector<DeviceBuffer> memory_;
  DeviceBuffer out_;
  BaselineTensors tensors_{};
};

// The decode kernel on random data: the attention of absorbed MLA alone.
class DecodeKernel : public Runnable {
 public:
  DecodeKernel(Device& device, const Setting& setting, const Contender& contender,
               const Place& place, uint64_t seed);
  ~DecodeKernel() override;

  void run() override;
  std::string backend() const override;
  uint64_t workspace_bytes() const override;
  uint64_t converted_products() const override { return 0; }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seesaw::tools
