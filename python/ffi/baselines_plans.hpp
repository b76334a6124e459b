// Plans of the baselines, by problem, as plan_cache.hpp keeps those of dense decoding.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "arguments.hpp"
#include "seesaw/baselines.hpp"

namespace seesaw::python {

// A problem as Python passes it; the order is that of `Layer.fields` in baselines/_layer.py.
struct BaselineFields {
  enum Integer {
    kDeviceType,
    kDeviceIndex,
    kModel,
    kDtype,
    kBatch,
    kTokens,
    kCacheCapacity,
    kDModel,
    kNumHeads,
    kHeadDim,
    kDLatent,
    kDQLatent,
    kDNope,
    kDRope,
    kDV,
    kChunkSize,
    kFlags,
    kNumThreads,
    kRopeOriginalPositions,
    kNumIntegers
  };
  enum Number {
    kRopeTheta,
    kNormEpsilon,
    kScale,
    kRopeFactor,
    kRopeBetaFast,
    kRopeBetaSlow,
    kRopeMscale,
    kRopeMscaleAllDim,
    kNumNumbers
  };
  static constexpr size_t kCount = size_t{kNumIntegers} + size_t{kNumNumbers};

  std::array<int64_t, kNumIntegers> integers{};
  std::array<double, kNumNumbers> numbers{};

  static BaselineFields read(ArgumentReader& reader);

  bool operator==(const BaselineFields&) const = default;
};

// Throws ValueError if a field does not fit the C ABI's type.
BaselineDescriptor descriptor_of(const BaselineFields& fields);

// The plan of a problem, with 0 threads taken as what OpenMP would use now; made on first use. The
// least recently used of 64 gives way, and lives on for the calls that still hold it. Thread-safe.
std::shared_ptr<const Baseline> plan_of(const BaselineFields& fields);

}  // namespace seesaw::python
