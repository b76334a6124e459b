#include "compare/measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "compare/memory.hpp"
#include "machine.hpp"

namespace seesaw::tools {
namespace {

// More than this part of what is free is left alone.
constexpr double kUsableMemory = 0.8;

// A row and what runs it; null if nothing can.
struct Entry {
  Row row;
  std::unique_ptr<Runnable> runnable;
  std::vector<double> us;
};

// Why the library cannot run it here, or empty.
std::string refusal(const Setting& setting, const Contender& contender, const Place& place) {
  const DecodeProblem decode = decode_of(setting, contender, place);
  const std::vector<KernelSupport> answers =
      contender.system == System::kDenseDecode
          ? DenseDecode::supports(decode.problem, decode.options)
          : supports(layer_of(setting, contender, place));
  std::string reasons;
  for (const KernelSupport& answer : answers) {
    if (answer.supported) {
      return "";
    }
    reasons += (reasons.empty() ? "" : "; ") + answer.kernel + ": " + answer.reason;
  }
  return reasons;
}

// Why it would not fit, or empty. Weights and cache are on the device beside what they come from.
std::string too_large(const Device& device, const Row& row) {
  const uint64_t cache = row.prediction.cache_bytes_per_token *
                         static_cast<uint64_t>(row.setting.batch * row.setting.len);
  const auto needed = static_cast<double>(2 * (row.prediction.weight_bytes + cache) +
                                          row.prediction.workspace_bytes);
  const double usable = kUsableMemory * static_cast<double>(free_bytes(device));
  return needed <= usable
             ? ""
             : fmt::format("needs about {}, usable: {}", bytes_text(needed), bytes_text(usable));
}

// The memory that a plan and a workspace of its own and a run take.
uint64_t memory_of_run(const Bench& bench, const BaselineDescriptor& d, Layer* layer) {
  const MemoryMeter meter(bench.device);
  const Baseline plan(d);
  const DeviceBuffer workspace(bench.device, plan.workspace_bytes());
  layer->use(workspace.data(), workspace.size_bytes());
  layer->run();
  bench.device.synchronise();
  return meter.usable() ? meter.growth_bytes() : 0;
}

std::unique_ptr<Runnable> make_layer(const Bench& bench, const MakeInputs& inputs_of, Row* row) {
  BaselineDescriptor d = layer_of(row->setting, row->contender, bench.place);
  const LayerInputs inputs =
      inputs_of ? inputs_of(row->contender, &d) : random_inputs(d, bench.rules.seed);
  auto layer = std::make_unique<Layer>(bench.device, d, inputs);
  memory_of_run(bench, d, layer.get());  // what a process pays once is not this layer's
  row->peak_bytes = memory_of_run(bench, d, layer.get());
  return layer;
}

std::unique_ptr<Runnable> make_decode(const Bench& bench, Row* row) {
  auto kernel = std::make_unique<DecodeKernel>(bench.device, row->setting, row->contender,
                                               bench.place, bench.rules.seed);
  kernel->run();
  bench.device.synchronise();
  row->prediction.workspace_bytes = kernel->workspace_bytes();
  return kernel;
}

Entry make_entry(const Bench& bench, const Setting& setting, const Contender& contender,
                 const MakeInputs& inputs_of) {
  Entry entry;
  Row& row = entry.row;
  row.setting = setting;
  row.contender = contender;
  row.prediction = predict(setting, contender, bench.place);
  row.why_not = refusal(setting, contender, bench.place);
  if (row.why_not.empty()) {
    row.why_not = too_large(bench.device, row);
  }
  if (!row.why_not.empty()) {
    return entry;
  }
  entry.runnable = contender.system == System::kDenseDecode ? make_decode(bench, &row)
                                                            : make_layer(bench, inputs_of, &row);
  row.backend = entry.runnable->backend();
  row.converted_products = entry.runnable->converted_products();
  row.plan_workspace_bytes = entry.runnable->workspace_bytes();
  row.roofs = roofs_of(bench.roofs, setting.dtype, row.converted_products > 0);
  row.bound_seconds = std::max(row.prediction.operations / (row.roofs.peak_gflops * 1e9),
                               row.prediction.bytes / (row.roofs.read_gbps * 1e9));
  return entry;
}

void time_rounds(const Bench& bench, std::vector<Entry>* entries) {
  size_t largest = 0;
  for (const Entry& entry : *entries) {
    largest = std::max<size_t>(largest, entry.runnable ? entry.runnable->workspace_bytes() : 0);
  }
  const DeviceBuffer workspace(bench.device, largest);  // used by the layers in turn
  for (Entry& entry : *entries) {
    if (auto* layer = dynamic_cast<Layer*>(entry.runnable.get())) {
      layer->use(workspace.data(), largest);
    }
  }
  if (std::none_of(entries->begin(), entries->end(),
                   [](const Entry& entry) { return entry.runnable != nullptr; })) {
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (int64_t round = -1; round < bench.rules.fewest_rounds || elapsed() < bench.rules.seconds;
       ++round) {
    for (Entry& entry : *entries) {
      if (entry.runnable == nullptr) {
        continue;
      }
      bench.stop_if_wanted();
      const double us = bench.device.time_us([&] {
        for (int64_t call = 0; call < bench.rules.calls; ++call) {
          entry.runnable->run();
        }
      });
      if (round >= 0) {  // the first one touches the workspace
        entry.us.push_back(us / static_cast<double>(bench.rules.calls));
      }
    }
  }
}

// Speed-ups round by round: what slowed a whole round down cancels.
Spread speed_up_over(const std::vector<double>& base, const std::vector<double>& us) {
  std::vector<double> ratios;
  for (size_t i = 0; i < us.size(); ++i) {
    ratios.push_back(base[i] / us[i]);
  }
  return spread_of(ratios);
}

}  // namespace

std::vector<Row> measure_group(const Bench& bench, const Setting& setting,
                               const std::vector<Contender>& contenders,
                               const MakeInputs& inputs_of) {
  std::vector<Entry> entries;
  for (const Contender& contender : contenders) {
    bench.stop_if_wanted();
    entries.push_back(make_entry(bench, setting, contender, inputs_of));
  }
  time_rounds(bench, &entries);
  const bool has_base =
      !entries.empty() && entries[0].row.contender.system == System::kMha && !entries[0].us.empty();
  std::vector<Row> rows;
  rows.reserve(entries.size());
  for (Entry& entry : entries) {
    if (!entry.us.empty()) {
      entry.row.us = spread_of(entry.us);
      entry.row.runs = static_cast<int64_t>(entry.us.size());
      entry.row.calls = bench.rules.calls;
      if (has_base) {
        entry.row.speed_up = speed_up_over(entries[0].us, entry.us);
      }
    }
    rows.push_back(entry.row);
  }
  return rows;
}

}  // namespace seesaw::tools
