#include "compare/tradeoff.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "compare/estimate.hpp"
#include "error.hpp"

namespace seesaw::tools {
namespace {

constexpr int64_t kSmallestPart = 64;  // of the full rank, by default

// The layer of `fitted` for a call.
BaselineDescriptor placed(const FittedLayer& fitted, const Place& place, seesaw_dtype dtype,
                          int64_t tokens) {
  BaselineDescriptor d = fitted.descriptor;
  d.device = place.device;
  d.num_threads = place.threads;
  d.dtype = dtype;
  d.batch = 1;
  d.tokens = tokens;
  return d;
}

LayerInputs rounded_inputs(const FittedLayer& fitted, const Values& x, seesaw_dtype dtype) {
  LayerInputs inputs;
  inputs.x = rounded(x, dtype);
  for (const Values& weight : fitted.weights) {
    inputs.weights.push_back(rounded(weight, dtype));
  }
  return inputs;
}

std::vector<int64_t> choose_ranks(const TradeoffRules& rules, int64_t full) {
  std::vector<int64_t> ranks = rules.ranks;
  if (ranks.empty()) {
    for (int64_t part = 1; part <= kSmallestPart && full / part >= 1; part *= 2) {
      ranks.push_back(full / part);
    }
  }
  std::sort(ranks.begin(), ranks.end(), std::greater<>());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

// What the fits are timed on.
Setting setting_of(const TradeoffRules& rules, int64_t heads, int64_t head_dim) {
  Setting setting;
  setting.len = rules.len;
  setting.heads = heads;
  setting.head_dim = head_dim;
  setting.dtype = rules.dtype;
  setting.bias = false;
  return setting;
}

class Study {
 public:
  Study(const Bench& bench, const HeadWeights& weights, const TradeoffRules& rules)
      : bench_(bench), rules_(rules), given_(as_given(weights)), fitter_(weights) {
    for (const int64_t rank : choose_ranks(rules, fitter_.full_rank())) {
      ranks_.push_back(rank);
    }
  }

  FittedLayer fitted(const Contender& contender) const {
    switch (contender.system) {
      case System::kExpanded:
      case System::kAbsorbed:
        return fitter_.deepseek(contender.latent, contender.system);
      case System::kTraditional:
        return fitter_.traditional(contender.latent);
      default:
        return given_;
    }
  }

  std::vector<Contender> contenders() const {
    std::vector<Contender> all = {{System::kMha, 0, 0}};
    for (const int64_t rank : ranks_) {
      all.push_back({System::kExpanded, rank, Fitter::kRotaryColumns});
      all.push_back({System::kAbsorbed, rank, Fitter::kRotaryColumns});
    }
    for (const int64_t rank : ranks_) {
      const int64_t latent = std::min(rank, fitter_.full_latent());
      const Contender& last = all.back();  // ranks fall: an equal latent is the one before
      if (last.system != System::kTraditional || last.latent != latent) {
        all.push_back({System::kTraditional, latent, 0});
      }
    }
    return all;
  }

  void measure_errors(std::vector<TradeoffPoint>* points) const {
    const auto tokens = static_cast<size_t>(rules_.check_tokens);
    const size_t columns = static_cast<size_t>(given_.descriptor.d_model);
    const Values x =
        widened(normal_array(tokens * columns, 1, SEESAW_FLOAT32, bench_.rules.seed + 1));
    const Values truth = reference(given_, x);
    const Values own = reference(fitter_.traditional(fitter_.full_latent()), x);
    for (TradeoffPoint& point : *points) {
      const FittedLayer layer = fitted(point.contender);
      const bool traditional = point.contender.system == System::kTraditional;
      point.weight_error = layer.weight_error;
      point.kept_energy = layer.kept_energy;
      for (size_t i = 0; i < kFloatTypes.size(); ++i) {
        bench_.stop_if_wanted();
        const BaselineDescriptor d =
            placed(layer, bench_.place, kFloatTypes[i], rules_.check_tokens);
        const LayerInputs inputs = rounded_inputs(layer, x, kFloatTypes[i]);
        point.errors[i] = measure_error(bench_, d, inputs, truth);
        point.own_errors[i] = traditional ? measure_error(bench_, d, inputs, own) : point.errors[i];
      }
    }
  }

  std::vector<Row> time(Phase phase) const {
    Setting setting = setting_of(rules_, given_.descriptor.num_heads, given_.descriptor.head_dim);
    setting.phase = phase;
    setting.width = given_.descriptor.d_model;
    return measure_group(bench_, setting, contenders(),
                         [this](const Contender& contender, BaselineDescriptor* d) {
                           const FittedLayer layer = fitted(contender);
                           d->scale = layer.descriptor.scale;
                           d->norm_epsilon = layer.descriptor.norm_epsilon;
                           LayerInputs inputs = random_inputs(*d, bench_.rules.seed);
                           for (size_t i = 0; i < layer.weights.size(); ++i) {
                             inputs.weights[i] = rounded(layer.weights[i], d->dtype);
                           }
                           return inputs;
                         });
  }

  const Fitter& fitter() const { return fitter_; }

 private:
  Values reference(const FittedLayer& layer, const Values& x) const {
    return reference_out(placed(layer, kPlaceOfReference, SEESAW_FLOAT32, rules_.check_tokens),
                         {x, layer.weights});
  }
  static constexpr Place kPlaceOfReference{};

  const Bench& bench_;
  const TradeoffRules& rules_;
  FittedLayer given_;
  Fitter fitter_;
  std::vector<int64_t> ranks_;
};

}  // namespace

void check_ranks(const std::vector<int64_t>& ranks, int64_t heads, int64_t head_dim,
                 int64_t d_model) {
  const int64_t full = std::min(2 * heads * head_dim, d_model);  // of [Wk; Wv]
  for (const int64_t rank : ranks) {
    if (rank < 1 || rank > full) {
      throw bad_input({"--ranks", std::to_string(rank), fmt::format("allowed: 1 to {}", full),
                       "Choose ranks up to the weights' own."});
    }
  }
}

MeasuredError measure_error(const Bench& bench, BaselineDescriptor descriptor,
                            const LayerInputs& inputs, const Values& reference) {
  MeasuredError result;
  for (const KernelSupport& answer : supports(descriptor)) {
    if (answer.supported) {
      result.why_not.clear();
      break;
    }
    result.why_not = answer.kernel + ": " + answer.reason;
  }
  if (!result.why_not.empty()) {
    return result;
  }
  Layer layer(bench.device, descriptor, inputs);
  const DeviceBuffer workspace(bench.device, layer.workspace_bytes());
  layer.use(workspace.data(), workspace.size_bytes());
  layer.run();
  result.error = error_of(layer.out(), reference);
  result.converted_products = layer.converted_products();
  return result;
}

double tradeoff_seconds(const Bench& bench, int64_t heads, int64_t head_dim,
                        const TradeoffRules& rules) {
  const int64_t columns = heads * head_dim;
  Setting setting = setting_of(rules, heads, head_dim);
  std::vector<Contender> fits = {{System::kMha, 0, 0}};
  for (const int64_t rank : choose_ranks(rules, columns)) {
    fits.push_back({System::kExpanded, rank, Fitter::kRotaryColumns});
    fits.push_back({System::kAbsorbed, rank, Fitter::kRotaryColumns});
    fits.push_back({System::kTraditional, rank, 0});
  }
  double seconds = decomposition_seconds(bench, 2 * columns, columns) +
                   2 * decomposition_seconds(bench, columns, columns);
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    setting.phase = phase;
    seconds += group_seconds(bench, setting, fits);
  }
  setting.phase = Phase::kPrefill;
  setting.len = rules.check_tokens;
  for (const Contender& fit : fits) {
    seconds += static_cast<double>(kFloatTypes.size()) * error_seconds(bench, setting, fit);
  }
  return seconds;
}

Tradeoff measure_tradeoff(const Bench& bench, const HeadWeights& weights,
                          const TradeoffRules& rules,
                          const std::function<void(const std::string&)>& step) {
  step("decomposing the weights");
  const Study study(bench, weights, rules);
  Tradeoff result;
  result.source = weights.source;
  result.left_out = weights.left_out;
  result.heads = weights.heads;
  result.head_dim = weights.head_dim;
  result.d_model = weights.d_model;
  result.full_rank = study.fitter().full_rank();
  result.full_latent = study.fitter().full_latent();
  result.check_tokens = rules.check_tokens;
  result.len = rules.len;
  result.spectrum = study.fitter().spectrum();
  for (const Contender& contender : study.contenders()) {
    result.points.emplace_back();
    result.points.back().contender = contender;
  }
  step("errors of the fits");
  study.measure_errors(&result.points);
  step("fits, prefill");
  const std::vector<Row> prefill = study.time(Phase::kPrefill);
  step("fits, decode");
  const std::vector<Row> decode = study.time(Phase::kDecode);
  const auto given_bytes = static_cast<double>(decode[0].prediction.cache_bytes_per_token);
  for (size_t i = 0; i < result.points.size(); ++i) {
    result.points[i].prefill = prefill[i];
    result.points[i].decode = decode[i];
    result.points[i].compression =
        given_bytes / static_cast<double>(decode[i].prediction.cache_bytes_per_token);
  }
  return result;
}

}  // namespace seesaw::tools
