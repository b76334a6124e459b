// A tensor's memory twice, on the host and on the GPU, with the same bytes in it: an operation is
// run on views of both, and afterwards all of it is compared, so that elements beside the result
// that an operation touched, padding and guards included, show too.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/message.hpp"
#include "host_ops.hpp"
#include "lab/device/device_memory.hpp"

namespace seesaw::baselines::gpu_test {

using seesaw::lab::DeviceBuffer;
using seesaw::lab::must;
using seesaw::lab::Stream;

// What may differ, |gpu - host| <= absolute + relative |host|.
struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

// A step of the type, as sums that differ by little may be rounded apart, and a sum in float32 of
// `terms` terms of size 1.
inline Tolerance rounding_of(DType dtype, int64_t terms) {
  const double sum = 1e-7 * static_cast<double>(terms + 1);
  switch (dtype) {
    case DType::kBFloat16:
      return {sum, 0x1p-7 * 1.01};
    case DType::kFloat16:
      return {sum + 0x1p-24, 0x1p-10 * 1.01};
    default:
      return {sum, 1e-6};
  }
}

// Elements that lie side by side, uniform in [-size, size].
inline void fill_view(const View& view, uint64_t seed, double size) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> values(-size, size);
  for (int64_t i = 0; i < view.elements(); ++i) {
    store(view, i, values(engine));
  }
}

class Mirror {
 public:
  // `elements` poisoned with NaN, whose first is `offset` elements beyond a multiple of 256 bytes,
  // between guards.
  Mirror(DType dtype, int64_t elements, int64_t offset = 0)
      : dtype_(dtype), begin_(kGuard / size_of(dtype) + offset), elements_(elements) {
    const auto bytes = static_cast<size_t>((begin_ + elements) * size_of(dtype) + kGuard);
    host_.assign(bytes, 0xFF);
    device_.reserve(bytes);
  }

  View host() { return flat(host_.data()); }
  View device() { return flat(device_.as<uint8_t>()); }

  Mirror& fill(uint64_t seed, double size = 1.0) {
    fill_view(host(), seed, size);
    return *this;
  }
  // The host's side; upload() brings it over.
  void poison() { std::fill(host_.begin(), host_.end(), uint8_t{0xFF}); }

  void upload() {
    must(cudaMemcpy(device_.as<void>(), host_.data(), host_.size(), cudaMemcpyHostToDevice),
         "upload");
    must(cudaDeviceSynchronize(), "upload");  // for streams that do not wait for the default one
  }

  std::vector<uint8_t> device_bytes() const {
    return seesaw::lab::copy_to_host<uint8_t>(device_.as<void>(), host_.size(), nullptr);
  }

  std::vector<double> host_values() const { return values_of(host_); }
  std::vector<double> device_values() const { return values_of(device_bytes()); }

  // Where the GPU's bytes differ by more than allowed; empty if nowhere.
  std::string difference(const Tolerance& allowed) {
    std::vector<uint8_t> bytes = device_bytes();
    const View expected = whole(host_.data());
    const View found = whole(bytes.data());
    const auto size = static_cast<size_t>(size_of(dtype_));
    for (int64_t i = 0; i < expected.shape[3]; ++i) {
      const auto at = static_cast<size_t>(i) * size;
      if (std::memcmp(&host_[at], &bytes[at], size) == 0) {
        continue;
      }
      const double want = load(expected, i);
      const double got = load(found, i);
      const bool both_nan = std::isnan(want) && std::isnan(got);
      const double error = std::fabs(got - want);
      if (!both_nan && !(error <= allowed.absolute + allowed.relative * std::fabs(want))) {
        return fmt::format("element {} of {}: {} instead of {}", i - begin_, elements_, got, want);
      }
    }
    return {};
  }

 private:
  static constexpr int64_t kGuard = 256;

  std::vector<double> values_of(std::vector<uint8_t> bytes) const {
    const View view = flat(bytes.data());
    std::vector<double> values;
    for (int64_t i = 0; i < elements_; ++i) {
      values.push_back(load(view, i));
    }
    return values;
  }

  View flat(uint8_t* base) const {
    return packed(base + begin_ * size_of(dtype_), dtype_, {1, 1, 1, elements_});
  }
  View whole(uint8_t* base) const {
    return packed(base, dtype_, {1, 1, 1, static_cast<int64_t>(host_.size()) / size_of(dtype_)});
  }

  DType dtype_;
  int64_t begin_;  // of the elements, behind a guard
  int64_t elements_;
  std::vector<uint8_t> host_;
  DeviceBuffer device_;
};

// The same part of a mirror's memory on both sides.
struct ViewPair {
  View host;
  View device;

  ViewPair slice(size_t dim, int64_t begin, int64_t end) const {
    return {host.slice(dim, begin, end), device.slice(dim, begin, end)};
  }
  ViewPair permute(std::array<size_t, 4> order) const {
    return {host.permute(order), device.permute(order)};
  }
  ViewPair transposed() const { return {host.transposed(), device.transposed()}; }
};

inline ViewPair pair_of(Mirror& mirror, Dims shape) {
  const View host = mirror.host();
  return {packed(host.data, host.dtype, shape), packed(mirror.device().data, host.dtype, shape)};
}

inline int64_t count_of(const Dims& shape) { return shape[0] * shape[1] * shape[2] * shape[3]; }

}  // namespace seesaw::baselines::gpu_test
