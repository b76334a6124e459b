#include "plan_cache.hpp"

#include <limits>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace seesaw::python {
namespace {

constexpr size_t kCapacity = 256;

struct HashFields {
  size_t operator()(const ProblemFields& fields) const noexcept {
    uint64_t hash = 0x9E3779B97F4A7C15U;
    for (const int64_t field : fields) {
      hash = (hash ^ static_cast<uint64_t>(field)) * 0xFF51AFD7ED558CCDU;
      hash ^= hash >> 32;
    }
    return hash;
  }
};

class PlanCache {
 public:
  std::shared_ptr<const DenseDecode> find_or_make(const ProblemFields& fields) {
    if (std::shared_ptr<const DenseDecode> found = find(fields)) {
      return found;
    }
    // Outside the lock: two threads may both make it, and one result is dropped.
    auto made = std::make_shared<const DenseDecode>(descriptor_of(fields));
    const std::lock_guard lock(mutex_);
    insert(fields, made);
    return made;
  }

 private:
  using Entry = std::pair<ProblemFields, std::shared_ptr<const DenseDecode>>;

  std::shared_ptr<const DenseDecode> find(const ProblemFields& fields) {
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(fields);
    if (found == index_.end()) {
      return nullptr;
    }
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->second;
  }

  void insert(const ProblemFields& fields, const std::shared_ptr<const DenseDecode>& plan) {
    if (index_.contains(fields)) {
      return;
    }
    entries_.emplace_front(fields, plan);
    index_[fields] = entries_.begin();
    if (entries_.size() > kCapacity) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
  }

  std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<ProblemFields, std::list<Entry>::iterator, HashFields> index_;
};

const std::vector<std::string>& kernel_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const KernelSupport& answer : supports(DenseDecodeDescriptor{})) {
      found.push_back(answer.kernel);
    }
    return found;
  }();
  return names;
}

template <typename T>
T narrow(const char* name, int64_t value) {
  if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max()) {
    throw Error(SEESAW_INVALID_ARGUMENT,
                "dense_decode: " + std::string(name) + " = " + std::to_string(value) +
                    ", allowed: " + std::to_string(std::numeric_limits<T>::min()) + " to " +
                    std::to_string(std::numeric_limits<T>::max()) + ". Correct its value.");
  }
  return static_cast<T>(value);
}

}  // namespace

DenseDecodeDescriptor descriptor_of(const ProblemFields& fields) {
  DenseDecodeDescriptor descriptor;
  descriptor.device = {narrow<int32_t>("device type", fields[kDeviceType]),
                       narrow<int32_t>("device index", fields[kDeviceIndex])};
  descriptor.q_dtype = static_cast<seesaw_dtype>(fields[kQDtype]);
  descriptor.kv_dtype = static_cast<seesaw_dtype>(fields[kKvDtype]);
  descriptor.batch = fields[kBatch];
  descriptor.s_q = fields[kSQ];
  descriptor.h_q = fields[kHQ];
  descriptor.h_kv = fields[kHKv];
  descriptor.d_qk = fields[kDQk];
  descriptor.d_v = fields[kDV];
  descriptor.page_size = fields[kPageSize];
  descriptor.max_pages_per_sequence = fields[kMaxPagesPerSequence];
  descriptor.kv_page_stride = fields[kKvPageStride];
  descriptor.kv_token_stride = fields[kKvTokenStride];
  descriptor.kv_head_stride = fields[kKvHeadStride];
  descriptor.flags = narrow<uint32_t>("flags", fields[kFlags]);
  descriptor.num_threads = narrow<int32_t>("num_threads", fields[kNumThreads]);
  if (fields[kKernelIndex] >= 0) {
    descriptor.kernel = kernel_names().at(static_cast<size_t>(fields[kKernelIndex]));
  }
  return descriptor;
}

std::shared_ptr<const DenseDecode> plan_of(const ProblemFields& fields) {
  static PlanCache cache;
  return cache.find_or_make(fields);
}

int64_t kernel_index(const std::string& name) {
  const std::vector<std::string>& names = kernel_names();
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) {
      return static_cast<int64_t>(i);
    }
  }
  DenseDecodeDescriptor insisting;
  insisting.kernel = name;
  const DenseDecode refused(insisting);  // throws the library's own message
  return -1;
}

}  // namespace seesaw::python
