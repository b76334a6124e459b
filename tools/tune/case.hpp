// The call that `seesaw tune` times: one shape on one device, planned with one setting after
// another on the same tensors.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "call.hpp"
#include "device.hpp"
#include "synthetic.hpp"
#include "tune/search.hpp"

namespace seesaw::tools {

struct TuneShape {
  SyntheticShape shape;
  std::vector<int32_t> lengths;
  int64_t max_tokens = 0;       // of a sequence, that plans allow; 0: the longest
  DenseDecodeDescriptor where;  // device, flags, kernel and threads; shapes are filled in
};

class TuneCase : public Tunable {
 public:
  explicit TuneCase(const TuneShape& shape);
  ~TuneCase() override;

  std::string fingerprint(const Setting& setting) override;
  double sample_us(const Setting& setting) override;
  void keep_only(const std::vector<Setting>& settings) override;

  std::vector<Knob> knobs() const;  // empty: the kernel has none
  const DenseDecodeDescriptor& problem() const { return problem_; }
  const std::string& key() const { return key_; }
  const char* kernel() const { return defaults_.kernel; }
  int64_t tokens() const { return source_.total_tokens(); }
  std::string defaults_text() const;

  // Throws Failure unless the setting's results are within the contract's bounds of the default's
  // and the same in a second run.
  void require_same_results(const Setting& setting);
  // Throws unless a plan of this problem uses the tuning file.
  void require_used(const std::string& path) const;

 private:
  // A plan and a call on the shared tensors.
  struct Prepared;
  Prepared& prepared(const Setting& setting);
  DenseDecodeDescriptor descriptor_of(const Setting& setting) const;

  SyntheticCase source_;
  AlignedBuffer q_;
  AlignedBuffer cache_;
  std::vector<int32_t> block_table_;  // as wide as plans allow
  DenseDecodeDescriptor problem_;
  std::unique_ptr<Device> device_;
  std::vector<DeviceBuffer> on_device_;
  HostTensors tensors_;
  seesaw_dense_decode_plan_info defaults_{};
  std::string key_;
  std::map<Setting, std::unique_ptr<Prepared>> prepared_;
};

}  // namespace seesaw::tools
