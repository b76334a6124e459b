#include "baselines/cpu/ops.hpp"

#include <cmath>
#include <cstddef>

#include "base/float16.hpp"
#include "baselines/cpu/products.hpp"
#include "baselines/cpu/rows.hpp"

namespace seesaw::baselines::cpu {
namespace {

// Calls body with a value of the dtype's element type.
template <typename Body>
void with_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kBFloat16:
      return body(BFloat16{});
    case DType::kFloat16:
      return body(Float16{});
    default:
      return body(float{});
  }
}

// Rows of a view, [0, rows), as indices of its first three dimensions.
struct RowIndex {
  explicit RowIndex(const View& view)
      : rows(view.shape[0] * view.shape[1] * view.shape[2]),
        middle(view.shape[1]),
        inner(view.shape[2]) {}

  std::ptrdiff_t offset(const View& view, int64_t row) const {
    return row / (inner * middle) * view.stride[0] + row / inner % middle * view.stride[1] +
           row % inner * view.stride[2];
  }

  int64_t rows;
  int64_t middle;
  int64_t inner;
};

char* at(const View& view, std::ptrdiff_t element) {
  return static_cast<char*>(view.data) + element * size_of(view.dtype);
}

// Both in the order in which they lie densely, if they agree on it.
bool dense_rows(View& from, View& to) {
  if (from.stride[2] == 1 && to.stride[2] == 1 && (from.stride[3] != 1 || to.stride[3] != 1)) {
    from = from.transposed();
    to = to.transposed();
  }
  return from.stride[3] == 1 && to.stride[3] == 1;
}

template <typename T>
void rms_norm_row(const T* x, const T* weight, T* out, int64_t count, float epsilon) {
  double squares = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double value = static_cast<double>(to_float(x[i]));
    squares += value * value;
  }
  const double mean = squares / static_cast<double>(count);
  const auto factor = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(epsilon)));
  for (int64_t i = 0; i < count; ++i) {
    out[i] = from_float<T>(to_float(x[i]) * factor * to_float(weight[i]));
  }
}

// All heads of one token.
template <typename T>
void rotate_token(const Rotary& step, std::ptrdiff_t from, std::ptrdiff_t to, double position) {
  const auto* x = reinterpret_cast<const T*>(at(step.x, from));
  auto* out = reinterpret_cast<T*>(at(step.out, to));
  const int64_t columns = step.x.shape[3];
  for (int64_t i = 0; i < columns; i += 2) {
    const double angle = position * frequency_of(step.frequencies, i / 2, columns / 2);
    const auto cosine = static_cast<float>(step.frequencies.amplitude * std::cos(angle));
    const auto sine = static_cast<float>(step.frequencies.amplitude * std::sin(angle));
    for (int64_t head = 0; head < step.x.shape[1]; ++head) {
      const T* pair = x + head * step.x.stride[1] + i;
      const float even = to_float(pair[0]);
      const float odd = to_float(pair[1]);
      T* turned = out + head * step.out.stride[1] + i;
      turned[0] = from_float<T>(even * cosine - odd * sine);
      turned[1] = from_float<T>(even * sine + odd * cosine);
    }
  }
}

}  // namespace

Status CpuOps::softmax(const Softmax& step) {
  if (pass_ == Pass::kRehearsal) {
    return {};
  }
  const RowIndex index(step.scores);
  const int64_t keys = step.scores.shape[3];
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < index.rows; ++row) {
    const int64_t seen = step.visible == Visible::kCausal
                             ? std::min(keys, step.first_position + row % index.inner + 1)
                             : keys;
    SoftmaxRow job;
    job.scores = reinterpret_cast<float*>(at(step.scores, index.offset(step.scores, row)));
    job.visible = seen;
    job.count = keys;
    if (step.mask.present()) {
      job.mask = reinterpret_cast<const uint8_t*>(at(step.mask, index.offset(step.mask, row)));
      job.mask_stride = step.mask.stride[3];
    }
    job.scale = step.scale;
    job.probabilities = at(step.probabilities, index.offset(step.probabilities, row));
    job.dtype = step.probabilities.dtype;
    softmax_row(job);
  }
  return {};
}

Status CpuOps::rms_norm(const RmsNorm& step) {
  if (pass_ == Pass::kRehearsal) {
    return {};
  }
  const RowIndex index(step.x);
  with_type(step.x.dtype, [&]<typename T>(T) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < index.rows; ++row) {
      rms_norm_row(reinterpret_cast<const T*>(at(step.x, index.offset(step.x, row))),
                   static_cast<const T*>(step.weight.data),
                   reinterpret_cast<T*>(at(step.out, index.offset(step.out, row))), step.x.shape[3],
                   step.epsilon);
    }
  });
  return {};
}

Status CpuOps::rotary(const Rotary& step) {
  if (pass_ == Pass::kRehearsal) {
    return {};
  }
  const int64_t tokens = step.x.shape[2];
  const int64_t all_tokens = step.x.shape[0] * tokens;
  with_type(step.x.dtype, [&]<typename T>(T) {
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < all_tokens; ++token) {
      const int64_t b = token / tokens;
      const int64_t n = token % tokens;
      int64_t position = step.first_position + n;
      if (step.positions.present()) {
        position = static_cast<const int32_t*>(
            step.positions.data)[b * step.positions.stride[0] + n * step.positions.stride[2]];
      }
      rotate_token<T>(step, b * step.x.stride[0] + n * step.x.stride[2],
                      b * step.out.stride[0] + n * step.out.stride[2],
                      static_cast<double>(position));
    }
  });
  return {};
}

Status CpuOps::copy(const View& given_from, const View& given_to) {
  if (pass_ == Pass::kRehearsal) {
    return {};
  }
  View from = given_from;
  View to = given_to;
  const bool dense = dense_rows(from, to);
  const RowIndex index(from);
  const int64_t columns = from.shape[3];
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < index.rows; ++row) {
    const std::ptrdiff_t source = index.offset(from, row);
    const std::ptrdiff_t target = index.offset(to, row);
    if (dense) {
      convert_row(at(from, source), from.dtype, at(to, target), to.dtype, columns);
      continue;
    }
    for (int64_t i = 0; i < columns; ++i) {
      convert_row(at(from, source + i * from.stride[3]), from.dtype,
                  at(to, target + i * to.stride[3]), to.dtype, 1);
    }
  }
  return {};
}

Status CpuOps::gemm(const Gemm& step) {
  if (has_products_of(step.a.dtype)) {
    return products_.product(step);
  }
  return gemm_through_float32(step);
}

// A float32 copy that lies in memory as the view does.
Status CpuOps::widened(const View& view, View* wide) {
  if (!view.present()) {
    return {};
  }
  const bool by_columns = view.stride[3] != 1 && view.stride[2] == 1;
  const View source = by_columns ? view.transposed() : view;
  const View target = allocate(DType::kFloat32, source.shape);
  *wide = by_columns ? target.transposed() : target;
  return copy(source, target);
}

Status CpuOps::gemm_through_float32(const Gemm& step) {
  const Arena::Scope scope(arena());
  Gemm wide = step;
  SEESAW_RETURN_IF_ERROR(widened(step.a, &wide.a));
  SEESAW_RETURN_IF_ERROR(widened(step.b, &wide.b));
  SEESAW_RETURN_IF_ERROR(widened(step.bias, &wide.bias));
  const bool narrow_result = step.c.dtype != DType::kFloat32;
  if (narrow_result) {
    wide.c = allocate(DType::kFloat32, step.c.shape);
  }
  products_.count_conversion();
  SEESAW_RETURN_IF_ERROR(products_.product(wide));
  return narrow_result ? copy(wide.c, step.c) : Status{};
}

}  // namespace seesaw::baselines::cpu
