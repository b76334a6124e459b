#include "plans.hpp"

#include <omp.h>

#include <cstring>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace seesaw::python {
namespace {

constexpr size_t kCapacity = 256;

// What a key begins with; the problem and the two texts, each with its zero, follow.
struct Header {
  uint32_t operation = 0;     // in the tables
  uint32_t kernel_bytes = 0;  // with its zero; 0: not given
  uint32_t tuning_bytes = 0;
  uint32_t reserved = 0;
  seesaw_options options{};  // the texts' addresses 0
};

uint32_t bytes_of(const char* text) {
  return text == nullptr ? 0 : static_cast<uint32_t>(std::strlen(text) + 1);
}

[[noreturn]] void refuse_key(std::string_view key) {
  throw Error(SEESAW_INTERNAL_ERROR,
              "seesaw_ffi: a key of " + std::to_string(key.size()) +
                  " bytes, allowed: those that this module made. Report it with the call.");
}

Header read_header(std::string_view key) {
  Header header;
  if (key.size() < sizeof(header)) {
    refuse_key(key);
  }
  std::memcpy(&header, key.data(), sizeof(header));
  if (header.operation >= tables().operations.size()) {
    refuse_key(key);
  }
  return header;
}

// A plan keeps its number of workers, and the size of its buffers with it: what OpenMP allowed when
// the module was loaded, whatever it says when a plan that gave way is made again.
int32_t default_threads() {
  static const int32_t threads = omp_get_max_threads();
  return threads;
}

std::shared_ptr<const Planned> make(std::string_view key) {
  Request request(key);
  if (request.options.num_threads == 0) {
    request.options.num_threads = default_threads();
  }
  auto planned = std::make_shared<Planned>();
  planned->operation = request.operation;
  seesaw_plan* plan = nullptr;
  check(seesaw_plan_create(request.operation->name.c_str(), request.problem, &request.options,
                           &plan));
  planned->plan.reset(plan);
  check(seesaw_plan_info(plan, &planned->details));
  return planned;
}

class PlanCache {
 public:
  std::shared_ptr<const Planned> find_or_make(std::string_view key) {
    if (std::shared_ptr<const Planned> found = find(key)) {
      return found;
    }
    // Outside the lock: two threads may both make it, and one result is dropped.
    std::shared_ptr<const Planned> made = make(key);
    insert(key, made);
    return made;
  }

 private:
  using Entry = std::pair<std::string, std::shared_ptr<const Planned>>;

  std::shared_ptr<const Planned> find(std::string_view key) {
    const std::lock_guard lock(mutex_);
    if (!entries_.empty() && entries_.front().first == key) {
      return entries_.front().second;  // the layers of a step
    }
    const auto found = index_.find(key);
    if (found == index_.end()) {
      return nullptr;
    }
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->second;
  }

  void insert(std::string_view key, const std::shared_ptr<const Planned>& plan) {
    const std::lock_guard lock(mutex_);
    if (index_.contains(key)) {
      return;
    }
    entries_.emplace_front(key, plan);
    index_[entries_.front().first] = entries_.begin();
    if (entries_.size() > kCapacity) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
  }

  std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> index_;  // of their keys
};

}  // namespace

Request::Request(const Operation& asked, const seesaw_options& where)
    : operation(&asked), options(where) {
  std::memset(problem, 0, asked.problem_bytes);
  const uint64_t size = asked.problem_bytes;
  std::memcpy(problem, &size, sizeof(size));
}

const Operation& operation_of(std::string_view key) {
  return tables().operations[read_header(key).operation];
}

Request::Request(std::string_view key) {
  const Header header = read_header(key);
  operation = &tables().operations[header.operation];
  key.remove_prefix(sizeof(header));
  if (key.size() != operation->problem_bytes + header.kernel_bytes + header.tuning_bytes) {
    refuse_key(key);
  }
  std::memcpy(problem, key.data(), operation->problem_bytes);
  const char* texts = key.data() + operation->problem_bytes;
  options = header.options;
  options.kernel = header.kernel_bytes == 0 ? nullptr : texts;
  options.tuning = header.tuning_bytes == 0 ? nullptr : texts + header.kernel_bytes;
}

std::string Request::key() const {
  Header header;
  header.operation = static_cast<uint32_t>(operation - tables().operations.data());
  header.kernel_bytes = bytes_of(options.kernel);
  header.tuning_bytes = bytes_of(options.tuning);
  header.options = options;
  header.options.kernel = nullptr;
  header.options.tuning = nullptr;
  std::string key;
  key.reserve(sizeof(header) + operation->problem_bytes + header.kernel_bytes +
              header.tuning_bytes);
  key.append(reinterpret_cast<const char*>(&header), sizeof(header));
  key.append(reinterpret_cast<const char*>(problem), operation->problem_bytes);
  if (options.kernel != nullptr) {
    key.append(options.kernel, header.kernel_bytes);
  }
  if (options.tuning != nullptr) {
    key.append(options.tuning, header.tuning_bytes);
  }
  return key;
}

void Request::set(const Field& field, int64_t value) {
  if (field.kind == Kind::kInt64) {
    std::memcpy(problem + field.offset, &value, sizeof(value));
    return;
  }
  const auto narrow = static_cast<int32_t>(value);
  if (narrow != value) {
    throw Error(SEESAW_INVALID_ARGUMENT, operation->name + ": " + field.name + " = " +
                                             std::to_string(value) +
                                             ", allowed: numbers of 32 bits. Correct its value.");
  }
  std::memcpy(problem + field.offset, &narrow, sizeof(narrow));
}

int64_t Request::get(const Field& field) const {
  if (field.kind == Kind::kInt64) {
    int64_t value;
    std::memcpy(&value, problem + field.offset, sizeof(value));
    return value;
  }
  int32_t value;
  std::memcpy(&value, problem + field.offset, sizeof(value));
  return value;
}

std::shared_ptr<const Planned> plan_of(std::string_view key) {
  static PlanCache cache;
  return cache.find_or_make(key);
}

}  // namespace seesaw::python
