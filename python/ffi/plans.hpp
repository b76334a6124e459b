// Plans of the process, by key. A key is a problem with its options as one string of bytes, which
// Python holds and hands back, so that nothing has to be closed: making a plan costs microseconds,
// a plan never changes, and the cache answers in some 100 ns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "seesaw/seesaw.hpp"
#include "tables.hpp"

namespace seesaw::python {

inline constexpr size_t kMostProblemBytes = 1024;

// A problem and its options as the C ABI takes them. A key holds the same bytes, with the two texts
// behind them: equal keys are equal requests.
struct Request {
  const Operation* operation = nullptr;
  seesaw_options options{};  // kernel and tuning: null, or text that the request's maker owns
  alignas(8) std::byte problem[kMostProblemBytes];

  Request(const Operation& asked, const seesaw_options& where);
  // `key` has to outlive the request. Throws Error for what is no key.
  explicit Request(std::string_view key);

  std::string key() const;

  void set(const Field& field, int64_t value);
  int64_t get(const Field& field) const;
};

// The operation of a key.
const Operation& operation_of(std::string_view key);

struct Planned {
  const Operation* operation = nullptr;
  std::unique_ptr<seesaw_plan, void (*)(seesaw_plan*)> plan{nullptr, seesaw_plan_destroy};
  seesaw_plan_details details{};
};

// The plan of a key; made on first use. The least recently used of 256 gives way, and lives on for
// the calls that still hold it. Thread-safe. Throws Error.
std::shared_ptr<const Planned> plan_of(std::string_view key);

}  // namespace seesaw::python
