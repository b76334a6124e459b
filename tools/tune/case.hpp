// The call that `seesaw tune` times: one shape on one device, planned with one setting after
// another on the same tensors.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lab/call.hpp"
#include "lab/synthetic.hpp"
#include "laboratory.hpp"
#include "tune/search.hpp"

namespace seesaw::tools {

struct TuneShape {
  seesaw_dense_decode_problem problem;  // complete, but for the block table
  seesaw_options options;
  std::vector<int32_t> lengths;
  int64_t max_tokens = 0;  // of a sequence, that plans allow; 0: the longest
  uint64_t seed = 0;
};

class TuneCase : public Tunable {
 public:
  explicit TuneCase(const TuneShape& shape);
  ~TuneCase() override;

  std::string fingerprint(const Setting& setting) override;
  double sample_us(const Setting& setting) override;
  void keep_only(const std::vector<Setting>& settings) override;

  std::vector<Knob> knobs() const;  // empty: the kernel has none
  const seesaw_dense_decode_problem& problem() const { return source_.problem(); }
  const char* key() const { return standard_.details().tuning_key; }
  const char* kernel() const { return standard_.kernel(); }
  int64_t tokens() const { return source_.total_tokens(); }
  std::string defaults_text() const;

  // Throws Failure unless the setting's results are within the bounds of FlashMLA's suite, which
  // these inputs are like, of the default's, and the same in a second run.
  void require_same_results(const Setting& setting);
  // Throws unless a plan of this problem uses the tuning file.
  void require_used(const std::string& path) const;

 private:
  // A plan and a call on the shared tensors.
  struct Prepared;
  Prepared& prepared(const Setting& setting);
  seesaw_options options_of(const char* tuning) const;

  SyntheticCase source_;
  SyntheticMemory memory_;
  seesaw_options options_;
  DenseDecode standard_;  // with the kernel's own numbers
  std::unique_ptr<Device> device_;
  DeviceInputs inputs_;
  std::map<Setting, std::unique_ptr<Prepared>> prepared_;
};

}  // namespace seesaw::tools
