#include "host_ops.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "base/float16.hpp"

namespace seesaw::baselines::gpu_test {
namespace {

// Of an element; dimensions of size 1 serve every index.
int64_t index_of(const View& view, const Dims& at) {
  int64_t index = 0;
  for (size_t i = 0; i < 4; ++i) {
    index += view.shape[i] == 1 ? 0 : at[i] * view.stride[i];
  }
  return index;
}

double get(const View& view, const Dims& at) { return load(view, index_of(view, at)); }
void set(const View& view, const Dims& at, double value) { store(view, index_of(view, at), value); }

template <typename Body>
void for_each(const Dims& shape, Body body) {
  for (int64_t i = 0; i < shape[0]; ++i) {
    for (int64_t j = 0; j < shape[1]; ++j) {
      for (int64_t k = 0; k < shape[2]; ++k) {
        for (int64_t l = 0; l < shape[3]; ++l) {
          body(Dims{i, j, k, l});
        }
      }
    }
  }
}

bool is_visible(const Softmax& step, const Dims& at) {
  const bool past = step.visible == Visible::kAll || at[3] <= step.first_position + at[2];
  if (!past || !step.mask.present()) {
    return past;
  }
  return static_cast<const uint8_t*>(step.mask.data)[index_of(step.mask, at)] != 0;
}

void softmax_row(const Softmax& step, Dims at) {
  const auto keys = static_cast<size_t>(step.scores.shape[3]);
  std::vector<double> values(keys, 0.0);
  double largest = -std::numeric_limits<double>::infinity();
  for (size_t s = 0; s < keys; ++s) {
    at[3] = static_cast<int64_t>(s);
    if (is_visible(step, at)) {
      values[s] = static_cast<double>(step.scale) * get(step.scores, at);
      largest = std::max(largest, values[s]);  // stays, if the value is NaN
    }
  }
  double sum = 0.0;
  for (size_t s = 0; s < keys; ++s) {
    at[3] = static_cast<int64_t>(s);
    values[s] = is_visible(step, at) ? std::exp(values[s] - largest) : 0.0;
    sum += values[s];
  }
  for (size_t s = 0; s < keys; ++s) {
    at[3] = static_cast<int64_t>(s);
    set(step.probabilities, at, is_visible(step, at) ? values[s] / sum : 0.0);
  }
}

}  // namespace

double load(const View& view, int64_t index) {
  switch (view.dtype) {
    case DType::kBFloat16:
      return static_cast<double>(to_float(static_cast<const BFloat16*>(view.data)[index]));
    case DType::kFloat16:
      return static_cast<double>(to_float(static_cast<const Float16*>(view.data)[index]));
    default:
      return static_cast<double>(static_cast<const float*>(view.data)[index]);
  }
}

void store(const View& view, int64_t index, double value) {
  const auto rounded = static_cast<float>(value);
  switch (view.dtype) {
    case DType::kBFloat16:
      static_cast<BFloat16*>(view.data)[index] = from_float<BFloat16>(rounded);
      break;
    case DType::kFloat16:
      static_cast<Float16*>(view.data)[index] = from_float<Float16>(rounded);
      break;
    default:
      static_cast<float*>(view.data)[index] = rounded;
  }
}

Status HostOps::gemm(const Gemm& step) {
  const Dims& size = step.c.shape;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < size[0] * size[1] * size[2]; ++row) {
    Dims at = {row / size[2] / size[1], row / size[2] % size[1], row % size[2], 0};
    for (; at[3] < size[3]; ++at[3]) {
      double sum = step.accumulate ? get(step.c, at) : 0.0;
      sum += step.bias.present() ? get(step.bias, at) : 0.0;
      for (int64_t k = 0; k < step.a.shape[3]; ++k) {
        sum += get(step.a, {at[0], at[1], at[2], k}) * get(step.b, {at[0], at[1], k, at[3]});
      }
      set(step.c, at, sum);
    }
  }
  return {};
}

Status HostOps::softmax(const Softmax& step) {
  Dims rows = step.scores.shape;
  rows[3] = 1;
  for_each(rows, [&](const Dims& at) { softmax_row(step, at); });
  return {};
}

Status HostOps::rms_norm(const RmsNorm& step) {
  const int64_t width = step.x.shape[3];
  Dims rows = step.x.shape;
  rows[3] = 1;
  for_each(rows, [&](Dims at) {
    double squares = 0.0;
    for (at[3] = 0; at[3] < width; ++at[3]) {
      squares += get(step.x, at) * get(step.x, at);
    }
    const double norm =
        std::sqrt(squares / static_cast<double>(width) + static_cast<double>(step.epsilon));
    for (at[3] = 0; at[3] < width; ++at[3]) {
      set(step.out, at, get(step.x, at) / norm * get(step.weight, at));
    }
  });
  return {};
}

Status HostOps::rotary(const Rotary& step) {
  const int64_t width = step.x.shape[3];
  Dims pairs = step.x.shape;
  pairs[3] = width / 2;
  for_each(pairs, [&](const Dims& at) {
    const int64_t given =
        step.positions.present()
            ? static_cast<const int32_t*>(step.positions.data)[index_of(step.positions, at)]
            : step.first_position + at[2];
    const double angle =
        static_cast<double>(given) * frequency_of(step.frequencies, at[3], width / 2);
    const Dims first = {at[0], at[1], at[2], 2 * at[3]};
    const Dims second = {at[0], at[1], at[2], 2 * at[3] + 1};
    const double x = get(step.x, first);
    const double y = get(step.x, second);
    const double cosine = step.frequencies.amplitude * std::cos(angle);
    const double sine = step.frequencies.amplitude * std::sin(angle);
    set(step.out, first, x * cosine - y * sine);
    set(step.out, second, x * sine + y * cosine);
  });
  return {};
}

Status HostOps::copy(const View& from, const View& to) {
  for_each(to.shape, [&](const Dims& at) { set(to, at, get(from, at)); });
  return {};
}

}  // namespace seesaw::baselines::gpu_test
