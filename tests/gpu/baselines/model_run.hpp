// One call of a baseline on the GPU, through the C ABI, and the same model over HostOps.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "baselines/problem.hpp"
#include "mirror.hpp"
#include "seesaw/baselines.h"

namespace seesaw::baselines::gpu_test {

enum class MaskOf { kNone, kSequences, kHeads };

struct ModelCase {
  seesaw_baseline_problem problem{};
  int64_t past = 0;
  MaskOf mask = MaskOf::kNone;  // a third is hidden, and all of query 0
  bool positions = false;
  int64_t offset = 0;  // of every tensor from an aligned address, elements

  std::string name() const;
};

class ModelRun {
 public:
  explicit ModelRun(const ModelCase& c) : ModelRun(c, nullptr) {}
  // With another's plan, which is of the same problem.
  ModelRun(const ModelCase& c, const ModelRun* planned);
  ModelRun(const ModelRun&) = delete;
  ModelRun& operator=(const ModelRun&) = delete;

  // New random values of x; results, new cache rows and workspace are NaN again, here and there.
  void refill(uint64_t seed);

  // The tokens after those of the last run: new values of x, and the cache as that left it.
  void advance(uint64_t seed);

  // Asynchronous. Empty, or the message of the failure.
  std::string run();
  // Runs the host's side and compares everything. Empty, or what differs. Waits.
  std::string verdict();

  std::vector<uint8_t> out_bytes() const;
  // Values of x, of the GPU's result, and of a parameter.
  std::vector<double> x_values() const { return x_->host_values(); }
  std::vector<double> out_values() const;
  std::vector<double> weight_values(size_t i) const;
  const Problem& problem() const { return problem_; }
  const Stream& stream() const { return stream_; }

 private:
  Mirror& tensor(int64_t elements) {
    return mirrors_.emplace_back(problem_.dtype, elements, case_.offset);
  }
  void make_weights();
  void make_mask();
  void make_positions();
  void plan();
  void read_plan();
  std::string workspace_guards() const;

  ModelCase case_;
  Problem problem_;
  Stream stream_;
  std::deque<Mirror> mirrors_;
  Mirror* x_ = nullptr;
  Mirror* out_ = nullptr;
  Mirror* cache_ = nullptr;    // or none
  std::vector<View> weights_;  // on the host
  std::vector<seesaw_tensor> device_weights_;
  std::vector<uint8_t> mask_;
  DeviceBuffer device_mask_;
  std::vector<int32_t> positions_;
  DeviceBuffer device_positions_;
  std::shared_ptr<seesaw_baselines_plan> plan_;
  uint64_t workspace_bytes_ = 0;
  DeviceBuffer workspace_;  // between guards
};

}  // namespace seesaw::baselines::gpu_test
