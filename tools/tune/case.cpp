#include "tune/case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "error.hpp"
#include "errors.hpp"
#include "numbers.hpp"
#include "reference_results.hpp"
#include "tune/file.hpp"

namespace seesaw::tools {
namespace {

// A GPU sample is a burst of calls at least this long: one call is near the clock's resolution.
constexpr double kBurstUs = 1000;
constexpr int kMostCallsPerSample = 50;

// Rows of page ids padded with -1, which no kernel may read.
std::vector<int32_t> widened(const SyntheticCase& source, int64_t columns) {
  const auto from = static_cast<size_t>(source.max_pages_per_sequence());
  const auto to = static_cast<size_t>(columns);
  const auto rows = static_cast<size_t>(source.batch());
  std::vector<int32_t> table(rows * to, -1);
  for (size_t row = 0; row < rows; ++row) {
    std::copy_n(source.block_table().data() + row * from, from, table.data() + row * to);
  }
  return table;
}

int64_t columns_of(const TuneShape& shape, const SyntheticCase& source) {
  const int64_t page_size = shape.shape.page_size;
  const int64_t needed = source.max_pages_per_sequence();
  const int64_t allowed = (shape.max_tokens + page_size - 1) / page_size;
  if (shape.max_tokens != 0 && allowed < needed) {
    throw bad_input(
        {"--max-tokens", std::to_string(shape.max_tokens),
         fmt::format("allowed: at least the longest sequence, {} pages of {}", needed, page_size),
         "Leave it out for the longest."});
  }
  return std::max(needed, allowed);
}

}  // namespace

struct TuneCase::Prepared {
  Prepared(Device& device, const DenseDecodeDescriptor& wanted, const HostTensors& tensors)
      : descriptor(wanted), plan(descriptor), call(device, descriptor, plan, tensors) {
    call.schedule();
    call.run();  // pages touched, threads awake
    device.synchronise();
  }
  DenseDecodeDescriptor descriptor;
  DenseDecode plan;
  Call call;
  int calls_per_sample = 1;
};

TuneCase::TuneCase(const TuneShape& shape)
    : source_(shape.shape, shape.lengths),
      q_(source_.q_bytes()),
      cache_(source_.cache_bytes()),
      block_table_(widened(source_, columns_of(shape, source_))),
      problem_(source_.descriptor()) {
  source_.fill_q(q_.data());
  source_.fill_cache(cache_.data());
  problem_.max_pages_per_sequence = columns_of(shape, source_);
  problem_.device = shape.where.device;
  problem_.kernel = shape.where.kernel;
  problem_.num_threads = shape.where.num_threads;
  problem_.flags = shape.where.flags;
  problem_.tuning = "none";
  const DenseDecode plan(problem_);
  defaults_ = plan.info();
  key_ = defaults_.tuning_key;  // the plan goes
  defaults_.tuning = nullptr;
  defaults_.tuning_key = nullptr;
  device_ = open_device(problem_.device);
  const double scale = 1 / std::sqrt(static_cast<double>(problem_.d_qk));
  tensors_ = {q_.data(),
              cache_.data(),
              source_.num_pages(),
              block_table_.data(),
              source_.seq_lens().data(),
              static_cast<float>(scale)};
  if (!device_->is_host()) {
    const auto bring = [&](const void* data, size_t size_bytes) -> const void* {
      on_device_.emplace_back(*device_, size_bytes);
      device_->copy_in(on_device_.back().data(), data, size_bytes);
      return on_device_.back().data();
    };
    tensors_.q = bring(q_.data(), q_.size());
    tensors_.kv_cache = bring(cache_.data(), cache_.size());
    tensors_.block_table = static_cast<const int32_t*>(
        bring(block_table_.data(), block_table_.size() * sizeof(int32_t)));
    tensors_.seq_lens = static_cast<const int32_t*>(
        bring(source_.seq_lens().data(), source_.seq_lens().size() * sizeof(int32_t)));
    tensors_.on_device = true;
  }
}

TuneCase::~TuneCase() = default;

std::vector<Knob> TuneCase::knobs() const {
  if (std::string_view(defaults_.kernel) == kReference) {
    return {};
  }
  const int32_t most = defaults_.num_workers;
  std::vector<int32_t> workers;
  for (const int32_t sixteenths : {15, 14, 12, 8, 4}) {
    const int32_t count = most * sixteenths / 16;
    if (count >= 1) {
      workers.push_back(count);
    }
  }
  std::vector<Knob> knobs;
  if (problem_.device.type == SEESAW_CPU) {
    knobs.push_back({"chunk_tokens", {64, 128, 192, 256, 384, 512, 1024}});
  }
  knobs.push_back({"split_cost_tiles", {0, 2, 4, 8, 16, 32, 64, 256}});
  knobs.push_back({"piece_cost_tiles", {1, 2, 3, 4, 6, 8, 16}});
  knobs.push_back({"num_workers", workers});
  return knobs;
}

std::string TuneCase::defaults_text() const {
  std::string text =
      fmt::format("num_workers {}, piece_cost_tiles {}, split_cost_tiles {}", defaults_.num_workers,
                  defaults_.piece_cost_tiles, defaults_.split_cost_tiles);
  return defaults_.chunk_tokens == 0
             ? text
             : text + fmt::format(", chunk_tokens {}", defaults_.chunk_tokens);
}

DenseDecodeDescriptor TuneCase::descriptor_of(const Setting& setting) const {
  DenseDecodeDescriptor descriptor = problem_;
  if (!setting.empty()) {
    descriptor.tuning = tuning_text(key_, setting);
  }
  return descriptor;
}

TuneCase::Prepared& TuneCase::prepared(const Setting& setting) {
  std::unique_ptr<Prepared>& found = prepared_[setting];
  if (found == nullptr) {
    found = std::make_unique<Prepared>(*device_, descriptor_of(setting), tensors_);
  }
  return *found;
}

std::string TuneCase::fingerprint(const Setting& setting) {
  Prepared& ready = prepared(setting);
  std::string text =
      fmt::format("{} {}", ready.plan.info().num_workers, ready.plan.info().chunk_tokens);
  for (const seesaw_piece& piece : ready.call.pieces()) {
    text +=
        fmt::format(" {}:{}:{}-{}", piece.worker, piece.sequence, piece.tile_begin, piece.tile_end);
  }
  return text;
}

double TuneCase::sample_us(const Setting& setting) {
  Prepared& ready = prepared(setting);
  const int calls = ready.calls_per_sample;
  const double us = device_->time_us([&] {
    for (int i = 0; i < calls; ++i) {
      ready.call.run();
    }
  });
  if (!device_->is_host() && us < kBurstUs && calls < kMostCallsPerSample) {
    ready.calls_per_sample = std::min(2 * calls, kMostCallsPerSample);
  }
  return us / calls;
}

void TuneCase::keep_only(const std::vector<Setting>& settings) {
  std::erase_if(prepared_, [&](const auto& item) {
    return std::find(settings.begin(), settings.end(), item.first) == settings.end();
  });
}

void TuneCase::require_same_results(const Setting& setting) {
  const Results standard = results_of(prepared({}).call, problem_.q_dtype);
  Call& call = prepared(setting).call;
  call.run();
  const std::vector<std::byte> out = call.out();
  const ErrorStatistics errors = compare(results_of(call, problem_.q_dtype), standard);
  call.run();
  if (!errors.ok() || call.out() != out) {
    throw Failure(ExitCode::kCheckFailed,
                  fmt::format("tune: with {} the results differ from the default's beyond the "
                              "bounds or from run to run ({}); nothing was written",
                              setting_text(setting), errors.worst));
  }
}

void TuneCase::require_used(const std::string& path) const {
  DenseDecodeDescriptor descriptor = problem_;
  descriptor.tuning = path;
  const DenseDecode plan(descriptor);
  if (plan.info().tuned == 0) {
    throw Failure(
        ExitCode::kInternal,
        fmt::format("tune: a plan of the problem just tuned says: {}", plan.info().tuning));
  }
}

}  // namespace seesaw::tools
