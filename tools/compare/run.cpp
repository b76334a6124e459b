#include "compare/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "compare/estimate.hpp"
#include "machine.hpp"
#include "output.hpp"
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

// The one small problem of the precision rows.
Setting precision_setting(const CompareOptions& options) {
  Setting setting;
  setting.len = options.check_tokens;
  setting.heads = options.heads[0];
  setting.head_dim = options.head_dim;
  setting.width = options.d_model;
  setting.chunk_size = std::max<int64_t>(1, options.check_tokens / 3);  // several, of unequal size
  setting.causal = options.causal;
  return setting;
}

double precision_seconds(const CompareOptions& options, const Bench& bench) {
  double seconds = 0;
  for (const Contender& contender : make_contenders(options, Phase::kPrefill)) {
    seconds += static_cast<double>(kFloatTypes.size()) *
               error_seconds(bench, precision_setting(options), contender);
  }
  return seconds;
}

// Every system in every dtype.
std::vector<PrecisionRow> measure_precision(const CompareOptions& options, const Bench& bench) {
  std::vector<PrecisionRow> rows;
  Setting setting = precision_setting(options);
  for (const Contender& contender : make_contenders(options, Phase::kPrefill)) {
    for (const seesaw_dtype dtype : kFloatTypes) {
      bench.stop_if_wanted();
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

// A part of the command's work: what is measured together, or not at all.
struct Step {
  std::string what;
  double seconds;  // expected
  std::function<void()> work;
};

// All work of the command, so that progress knows its end.
class Run {
 public:
  Run(const CompareOptions& options, std::vector<Setting> settings, Device& device,
      const MeasureControl& control, CompareReport* report)
      : options_(options),
        settings_(std::move(settings)),
        bench_{device, {device.id(), options.threads}, {}, options.rules, {}},
        control_(control),
        report_(report) {
    bench_.stop = control.stop;
  }

  void all() {
    report_->roofs = measure_roofs(bench_.device, options_.threads);
    bench_.roofs = report_->roofs;
    const std::vector<Step> steps = all_steps();
    double total = 0;
    for (const Step& step : steps) {
      total += step.seconds;
      report_->left_out.push_back(step.what);
    }
    print_note("compare: about {} for {} steps; Ctrl-C keeps what is measured until then\n",
               duration_text(total), steps.size());
    progress_.emplace("compare", total, options_.progress);
    try {
      for (const Step& step : steps) {
        bench_.stop_if_wanted();
        progress_->update(done_, step.what);
        step.work();
        done_ += step.seconds;
        report_->left_out.erase(report_->left_out.begin());
        control_.keep(*report_);
      }
    } catch (const StoppedEarly&) {
      // What is left out is in the report.
    }
    progress_.reset();
  }

 private:
  std::vector<Step> all_steps() {
    std::vector<Step> steps;
    for (const Setting& setting : settings_) {
      const std::vector<Contender> contenders = make_contenders(options_, setting.phase);
      steps.push_back({setting.text(), group_seconds(bench_, setting, contenders), [=, this] {
                         add(measure_group(bench_, setting, contenders), &report_->rows);
                       }});
    }
    if (options_.check_tokens > 0) {
      steps.push_back({"precision", precision_seconds(options_, bench_),
                       [this] { report_->precision = measure_precision(options_, bench_); }});
    }
    if (options_.fit) {
      steps.push_back({"compression", fit_seconds(), [this] { fit(); }});
    }
    for (const ClaimGroup& group : claims()) {
      Bench bench = bench_;
      bench.rules.calls = group.calls;
      steps.push_back({"the study notes' " + group.setting.text(),
                       group_seconds(bench, group.setting, group.contenders), [=, this] {
                         add(measure_group(bench, group.setting, group.contenders),
                             &report_->claim_rows);
                       }});
    }
    if (counts()) {
      constexpr double kCountersSeconds = 30;
      steps.push_back({"hardware counters", kCountersSeconds, [this] {
                         report_->counters = measure_counters(options_.ncu, bench_.device);
                       }});
    }
    return steps;
  }

  bool counts() const {
    return options_.counters.value_or(true) && options_.claims && !bench_.device.is_host();
  }

  std::vector<ClaimGroup> claims() const {
    return options_.claims ? claim_groups(settings_[0].dtype, !bench_.device.is_host())
                           : std::vector<ClaimGroup>{};
  }

  static void add(const std::vector<Row>& rows, std::vector<Row>* to) {
    to->insert(to->end(), rows.begin(), rows.end());
  }

  TradeoffRules tradeoff_rules() const {
    TradeoffRules rules = options_.tradeoff;
    rules.dtype = settings_[0].dtype;
    return rules;
  }

  double fit_seconds() const {
    return tradeoff_seconds(bench_, options_.fit_heads, options_.spectrum.head_dim,
                            tradeoff_rules());
  }

  void fit() {
    SyntheticSpectrum spectrum = options_.spectrum;
    spectrum.heads = options_.fit_heads;
    spectrum.seed = options_.rules.seed;
    WeightFile file = options_.weights;
    file.heads = options_.fit_heads;
    const HeadWeights weights =
        file.path.empty() ? synthetic_weights(spectrum) : read_weights(file);
    int part = 0;
    report_->tradeoff =
        measure_tradeoff(bench_, weights, tradeoff_rules(), [&](const std::string& what) {
          bench_.stop_if_wanted();
          progress_->update(done_ + fit_seconds() * part++ / kTradeoffParts,
                            "compression: " + what);
        });
  }

  const CompareOptions& options_;
  std::vector<Setting> settings_;
  Bench bench_;
  const MeasureControl& control_;
  CompareReport* report_;
  double done_ = 0;
  std::optional<Progress> progress_;
};

}  // namespace

void measure_all(const CompareOptions& options, const std::vector<Setting>& settings,
                 Device& device, const MeasureControl& control, CompareReport* report) {
  Run(options, settings, device, control, report).all();
}

}  // namespace seesaw::tools
