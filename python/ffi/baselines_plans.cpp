#include "baselines_plans.hpp"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <list>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>

namespace seesaw::python {
namespace {

constexpr size_t kCapacity = 64;

// A list is searched from its front: entries are few, and a layer of milliseconds follows.
class BaselinePlans {
 public:
  std::shared_ptr<const Baseline> find_or_make(const BaselineFields& fields) {
    if (std::shared_ptr<const Baseline> found = find(fields)) {
      return found;
    }
    // Outside the lock: two threads may both make it, and both entries are right.
    auto made = std::make_shared<const Baseline>(descriptor_of(fields));
    const std::lock_guard lock(mutex_);
    entries_.emplace_front(fields, made);
    if (entries_.size() > kCapacity) {
      entries_.pop_back();
    }
    return made;
  }

 private:
  using Entry = std::pair<BaselineFields, std::shared_ptr<const Baseline>>;

  std::shared_ptr<const Baseline> find(const BaselineFields& fields) {
    const std::lock_guard lock(mutex_);
    if (process_ != getpid()) {  // a child of fork(): the parent's plans are for threads it has not
      process_ = getpid();
      entries_.clear();
    }
    const auto found = std::ranges::find(entries_, fields, &Entry::first);
    if (found == entries_.end()) {
      return nullptr;
    }
    entries_.splice(entries_.begin(), entries_, found);
    return found->second;
  }

  std::mutex mutex_;
  pid_t process_ = getpid();
  std::list<Entry> entries_;  // most recently used first
};

template <typename T>
T narrow(const char* name, int64_t value) {
  if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max()) {
    throw Error(SEESAW_INVALID_ARGUMENT,
                "baselines: " + std::string(name) + " = " + std::to_string(value) +
                    ", allowed: " + std::to_string(std::numeric_limits<T>::min()) + " to " +
                    std::to_string(std::numeric_limits<T>::max()) + ". Correct its value.");
  }
  return static_cast<T>(value);
}

// 0 threads: as many as OpenMP would use in this thread now. That may change between calls, and a
// plan keeps the number of its making, so plans are told apart by the number. GPUs ignore it.
BaselineFields with_threads(BaselineFields fields) {
  int64_t& threads = fields.integers[BaselineFields::kNumThreads];
  if (threads == 0 && fields.integers[BaselineFields::kDeviceType] == SEESAW_CPU) {
    threads = omp_get_max_threads();
  }
  return fields;
}

// A number other than 0 must not become 0 as a float, which stands for the default, nor infinite.
float narrow_number(const char* name, double value) {
  const auto narrowed = static_cast<float>(value);
  if (std::isfinite(value) && ((value != 0.0 && narrowed == 0.0F) || !std::isfinite(narrowed))) {
    std::ostringstream given;
    given << value;
    throw Error(SEESAW_INVALID_ARGUMENT,
                "baselines: " + std::string(name) + " = " + given.str() +
                    ", allowed: numbers of float32, of magnitude 1e-45 to 3.4e38. "
                    "Correct its value.");
  }
  return narrowed;
}

}  // namespace

BaselineFields BaselineFields::read(ArgumentReader& reader) {
  static constexpr std::array<const char*, kNumIntegers> kIntegerNames = {
      "device type",
      "device index",
      "model",
      "dtype",
      "batch",
      "tokens",
      "capacity",
      "d_model",
      "num_heads",
      "head_dim",
      "d_latent",
      "d_q_latent",
      "d_nope",
      "d_rope",
      "d_v",
      "chunk_size",
      "flags",
      "num_threads",
      "original_max_position_embeddings"};
  static constexpr std::array<const char*, kNumNumbers> kNumberNames = {
      "rope_theta", "norm_epsilon", "scale",  "factor",
      "beta_fast",  "beta_slow",    "mscale", "mscale_all_dim"};
  BaselineFields fields;
  for (size_t i = 0; i < fields.integers.size(); ++i) {
    fields.integers[i] = reader.integer(kIntegerNames[i]);
  }
  for (size_t i = 0; i < fields.numbers.size(); ++i) {
    fields.numbers[i] = reader.number(kNumberNames[i]);
  }
  return fields;
}

BaselineDescriptor descriptor_of(const BaselineFields& fields) {
  const auto& integers = fields.integers;
  BaselineDescriptor descriptor;
  descriptor.device = {narrow<int32_t>("device type", integers[BaselineFields::kDeviceType]),
                       narrow<int32_t>("device index", integers[BaselineFields::kDeviceIndex])};
  descriptor.model = static_cast<seesaw_baseline_model>(
      narrow<int32_t>("model", integers[BaselineFields::kModel]));
  descriptor.dtype =
      static_cast<seesaw_dtype>(narrow<int32_t>("dtype", integers[BaselineFields::kDtype]));
  descriptor.batch = integers[BaselineFields::kBatch];
  descriptor.tokens = integers[BaselineFields::kTokens];
  descriptor.cache_capacity = integers[BaselineFields::kCacheCapacity];
  descriptor.d_model = integers[BaselineFields::kDModel];
  descriptor.num_heads = integers[BaselineFields::kNumHeads];
  descriptor.head_dim = integers[BaselineFields::kHeadDim];
  descriptor.d_latent = integers[BaselineFields::kDLatent];
  descriptor.d_q_latent = integers[BaselineFields::kDQLatent];
  descriptor.d_nope = integers[BaselineFields::kDNope];
  descriptor.d_rope = integers[BaselineFields::kDRope];
  descriptor.d_v = integers[BaselineFields::kDV];
  descriptor.chunk_size = integers[BaselineFields::kChunkSize];
  descriptor.flags = narrow<uint32_t>("flags", integers[BaselineFields::kFlags]);
  descriptor.num_threads = narrow<int32_t>("num_threads", integers[BaselineFields::kNumThreads]);
  descriptor.rope_theta = fields.numbers[BaselineFields::kRopeTheta];
  descriptor.norm_epsilon =
      narrow_number("norm_epsilon", fields.numbers[BaselineFields::kNormEpsilon]);
  descriptor.scale = narrow_number("scale", fields.numbers[BaselineFields::kScale]);
  descriptor.rope_factor = fields.numbers[BaselineFields::kRopeFactor];
  descriptor.rope_original_positions = integers[BaselineFields::kRopeOriginalPositions];
  descriptor.rope_beta_fast = fields.numbers[BaselineFields::kRopeBetaFast];
  descriptor.rope_beta_slow = fields.numbers[BaselineFields::kRopeBetaSlow];
  descriptor.rope_mscale = fields.numbers[BaselineFields::kRopeMscale];
  descriptor.rope_mscale_all_dim = fields.numbers[BaselineFields::kRopeMscaleAllDim];
  return descriptor;
}

std::shared_ptr<const Baseline> plan_of(const BaselineFields& fields) {
  static BaselinePlans plans;
  return plans.find_or_make(with_threads(fields));
}

}  // namespace seesaw::python
