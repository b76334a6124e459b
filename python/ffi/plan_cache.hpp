// Plans of the process, by problem. Making a plan costs microseconds and a plan never changes, so
// Python need not hold one: a call names its problem, and the cache answers in some 100 ns.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "seesaw/seesaw.hpp"

namespace seesaw::python {

// A problem as Python passes it; the order is that of `Problem.fields` in _problem.py.
enum ProblemField {
  kDeviceType,
  kDeviceIndex,
  kQDtype,
  kKvDtype,
  kBatch,
  kSQ,
  kHQ,
  kHKv,
  kDQk,
  kDV,
  kPageSize,
  kMaxPagesPerSequence,
  kKvPageStride,
  kKvTokenStride,
  kKvHeadStride,
  kFlags,
  kNumThreads,
  kKernelIndex,  // in the library's list of kernels; -1: the first that can
  kNumProblemFields
};
using ProblemFields = std::array<int64_t, kNumProblemFields>;

// Throws ValueError if a field does not fit the C ABI's type.
DenseDecodeDescriptor descriptor_of(const ProblemFields& fields);

// The plan of a problem; made on first use. The least recently used of 256 gives way, and lives on
// for the calls that still hold it. Thread-safe.
std::shared_ptr<const DenseDecode> plan_of(const ProblemFields& fields);

// Position of a kernel in the library's list. Throws seesaw::Error for a name not in it.
int64_t kernel_index(const std::string& name);

}  // namespace seesaw::python
