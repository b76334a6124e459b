#include "compare/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "machine.hpp"
#include "progress.hpp"

namespace seesaw::tools {
namespace {

// Why the check of a layer would not fit, or empty: float32 inputs on host and device and in
// double, steps on the device and in double.
std::string too_large(const Setting& setting, const Contender& contender, const Bench& bench) {
  Setting wide = setting;
  wide.dtype = SEESAW_FLOAT32;
  const Prediction p = predict(wide, contender, bench.place);
  const auto needed = static_cast<double>(4 * p.weight_bytes + 3 * p.workspace_bytes);
  const double usable = static_cast<double>(available_memory_bytes()) / 2;
  return usable == 0 || needed <= usable
             ? ""
             : fmt::format("needs about {}, usable: {}", bytes_text(needed), bytes_text(usable));
}

// Every system in every dtype on one small problem.
std::vector<PrecisionRow> measure_precision(const CompareOptions& options, const Bench& bench) {
  std::vector<PrecisionRow> rows;
  Setting setting;
  setting.len = options.check_tokens;
  setting.heads = options.heads[0];
  setting.head_dim = options.head_dim;
  setting.width = options.d_model;
  setting.chunk_size = std::max<int64_t>(1, options.check_tokens / 3);  // several, of unequal size
  setting.causal = options.causal;
  for (const Contender& contender : make_contenders(options, Phase::kPrefill)) {
    for (const seesaw_dtype dtype : kFloatTypes) {
      setting.dtype = dtype;
      if (std::string why_not = too_large(setting, contender, bench); !why_not.empty()) {
        rows.push_back({setting, contender, {{}, std::move(why_not), 0}});
        continue;
      }
      const BaselineDescriptor d = layer_of(setting, contender, bench.place);
      const LayerInputs inputs = random_inputs(d, options.rules.seed);
      rows.push_back(
          {setting, contender, measure_error(bench, d, inputs, reference_out(d, widened(inputs)))});
    }
  }
  return rows;
}

// All work of the command, so that progress knows its end.
class Run {
 public:
  Run(const CompareOptions& options, std::vector<Setting> settings, Device& device,
      CompareReport* report)
      : options_(options),
        settings_(std::move(settings)),
        bench_{device, {device.id(), options.threads}, {}, options.rules},
        report_(report),
        progress_("compare", total(), options.progress) {}

  void all() {
    step("roofs");
    report_->roofs = measure_roofs(bench_.device, options_.threads);
    bench_.roofs = report_->roofs;
    for (const Setting& setting : settings_) {
      step(setting.text());
      add(measure_group(bench_, setting, make_contenders(options_, setting.phase)), &report_->rows);
    }
    step("precision");
    if (options_.check_tokens > 0) {
      report_->precision = measure_precision(options_, bench_);
    }
    if (options_.fit) {
      fit();
    }
    for (const ClaimGroup& group : claims()) {
      step("claims, " + group.setting.text());
      Bench bench = bench_;
      bench.rules.calls = group.calls;
      add(measure_group(bench, group.setting, group.contenders), &report_->claim_rows);
    }
    if (counts()) {
      step("hardware counters");
      report_->counters = measure_counters(options_.ncu, bench_.device);
    }
  }

 private:
  int64_t total() const {
    return static_cast<int64_t>(settings_.size()) + 2 + (options_.fit ? kTradeoffSteps : 0) +
           static_cast<int64_t>(claims().size()) + (counts() ? 1 : 0);
  }

  bool counts() const {
    return options_.counters.value_or(true) && options_.claims && !bench_.device.is_host();
  }

  std::vector<ClaimGroup> claims() const {
    return options_.claims ? claim_groups(settings_[0].dtype, !bench_.device.is_host())
                           : std::vector<ClaimGroup>{};
  }

  void step(const std::string& what) { progress_.update(done_++, what); }

  static void add(const std::vector<Row>& rows, std::vector<Row>* to) {
    to->insert(to->end(), rows.begin(), rows.end());
  }

  void fit() {
    SyntheticSpectrum spectrum = options_.spectrum;
    spectrum.heads = options_.fit_heads;
    spectrum.seed = options_.rules.seed;
    WeightFile file = options_.weights;
    file.heads = options_.fit_heads;
    const HeadWeights weights =
        file.path.empty() ? synthetic_weights(spectrum) : read_weights(file);
    TradeoffRules rules = options_.tradeoff;
    rules.dtype = settings_[0].dtype;
    report_->tradeoff =
        measure_tradeoff(bench_, weights, rules, [this](const std::string& what) { step(what); });
  }

  const CompareOptions& options_;
  std::vector<Setting> settings_;
  Bench bench_;
  CompareReport* report_;
  int64_t done_ = 0;
  Progress progress_;
};

}  // namespace

void measure_all(const CompareOptions& options, const std::vector<Setting>& settings,
                 Device& device, CompareReport* report) {
  Run(options, settings, device, report).all();
}

}  // namespace seesaw::tools
