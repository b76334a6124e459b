#include "tune/case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "describe.hpp"
#include "error.hpp"
#include "reference_results.hpp"
#include "tune/file.hpp"

namespace seesaw::tools {
namespace {

// A GPU sample is a burst of calls at least this long: one call is near the clock's resolution.
constexpr double kBurstUs = 1000;
constexpr int kMostCallsPerSample = 50;

SyntheticRules rules_of(const TuneShape& shape) {
  const int64_t page_size = shape.problem.page_size;
  const int64_t needed = columns_of(shape.lengths, page_size);
  const int64_t allowed = pages_of(shape.max_tokens, page_size);
  if (shape.max_tokens != 0 && allowed < needed) {
    throw bad_input(
        {"--max-tokens", std::to_string(shape.max_tokens),
         fmt::format("allowed: at least the longest sequence, {} pages of {}", needed, page_size),
         "Leave it out for the longest."});
  }
  return {.seed = shape.seed, .columns = allowed};
}

const std::vector<KnobRange>& ranges_of(const std::string& kernel) {
  static const std::vector<KnobRange> kNone;
  const Kernel* known = dense_decode().kernel(kernel);
  return known == nullptr ? kNone : known->knobs;
}

// Values to try: sixteenths and multiples of the kernel's own where it is large, else the range's
// least and powers of two above it.
std::vector<int32_t> values_of(const KnobRange& knob, int64_t own) {
  constexpr int64_t kSixteenths[] = {2, 4, 8, 12, 14, 15, 20, 24, 32};
  constexpr int kPowers = 9;  // 1 to 256
  std::set<int32_t> values;
  const auto add = [&](int64_t value) {
    const int64_t rounded = value / knob.step * knob.step;
    if (rounded >= knob.least && rounded <= knob.most && rounded != own) {
      values.insert(static_cast<int32_t>(rounded));
    }
  };
  if (own > 4 * knob.step) {
    for (const int64_t sixteenths : kSixteenths) {
      add(own * sixteenths / 16);
    }
  } else {
    add(knob.least);
    for (int k = 0; k < kPowers; ++k) {
      add(int64_t{knob.step} << k);
    }
  }
  return {values.begin(), values.end()};
}

}  // namespace

struct TuneCase::Prepared {
  Prepared(Device& device, const seesaw_dense_decode_problem& problem,
           const seesaw_options& options, const seesaw_dense_decode_args& inputs)
      : plan(problem, options), call(device, plan, problem.d_v, inputs) {
    call.prepare();
    call.run();  // pages touched, threads awake
    device.synchronise();
  }
  DenseDecode plan;
  Call call;
  int calls_per_sample = 1;
};

TuneCase::TuneCase(const TuneShape& shape)
    : source_(shape.problem, shape.lengths, rules_of(shape)),
      memory_(source_),
      options_(shape.options),
      standard_(problem(), options_of("none")),
      device_(open_device(options_.device)),
      inputs_(*device_, memory_.inputs(source_)) {}

TuneCase::~TuneCase() = default;

std::vector<Knob> TuneCase::knobs() const {
  std::vector<Knob> knobs;
  for (const KnobRange& range : ranges_of(kernel())) {
    knobs.push_back({range.name, values_of(range, standard_.number(range.name))});
  }
  return knobs;
}

std::string TuneCase::defaults_text() const {
  std::string text;
  for (const KnobRange& range : ranges_of(kernel())) {
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : ", ", range.name, standard_.number(range.name));
  }
  return text;
}

seesaw_options TuneCase::options_of(const char* tuning) const {
  seesaw_options options = options_;
  options.tuning = tuning;
  return options;
}

TuneCase::Prepared& TuneCase::prepared(const Setting& setting) {
  std::unique_ptr<Prepared>& found = prepared_[setting];
  if (found == nullptr) {
    const std::string tuning = setting.empty() ? "none" : tuning_text(key(), setting);
    found =
        std::make_unique<Prepared>(*device_, problem(), options_of(tuning.c_str()), inputs_.args());
  }
  return *found;
}

std::string TuneCase::fingerprint(const Setting& setting) {
  try {
    Prepared& ready = prepared(setting);
    std::string text;  // what the schedule does not show
    for (const char* name : {"num_workers", "chunk_tokens", "tile_rows", "shared_bytes"}) {
      text += fmt::format(" {}", ready.plan.number(name));
    }
    for (const seesaw_piece& piece : ready.call.pieces()) {
      text += fmt::format(" {}:{}.{}:{}-{}", piece.worker, piece.sequence, piece.row_group,
                          piece.tile_begin, piece.tile_end);
    }
    return text;
  } catch (const Error& error) {  // more workers than there are, say
    if (error.status() != SEESAW_INVALID_ARGUMENT && error.status() != SEESAW_NOT_SUPPORTED) {
      throw;
    }
    prepared_.erase(setting);
    return "";
  }
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
  const int32_t dtype = problem().q_dtype;
  const Results standard = results_of(prepared({}).call, dtype);
  Call& call = prepared(setting).call;
  call.run();
  const std::vector<std::byte> out = call.out();
  const ResultShape shape = shape_of(problem(), inputs_.args());
  const ErrorStatistics errors =
      compare(results_of(call, dtype), standard, flash_mla_suite(standard, shape), shape);
  call.run();
  if (!errors.ok() || call.out() != out) {
    throw Failure(ExitCode::kCheckFailed,
                  fmt::format("tune: with {} the results differ from the default's beyond the "
                              "bounds or from run to run ({}); nothing was written",
                              setting_text(setting), errors.worst));
  }
}

void TuneCase::require_used(const std::string& path) const {
  const DenseDecode plan(problem(), options_of(path.c_str()));
  if (plan.details().tuned == 0) {
    throw Failure(
        ExitCode::kInternal,
        fmt::format("tune: a plan of the problem just tuned says: {}", plan.details().tuning));
  }
}

}  // namespace seesaw::tools
