// cpu.append: tokens shared out over threads; a segment of a record at a time, so that its loops
// are of one type. The numbers are those of README.md.
#include <atomic>
#include <cstring>

#include "base/fork.hpp"
#include "ops/append/tokens.hpp"

namespace seesaw::append {
namespace {

template <typename T>
constexpr DType kDTypeOf = DType::kFloat32;
template <>
constexpr DType kDTypeOf<BFloat16> = DType::kBFloat16;
template <>
constexpr DType kDTypeOf<Float16> = DType::kFloat16;

template <typename To, typename From>
void convert(const From* from, int64_t count, std::byte* to) {
  for (int64_t i = 0; i < count; ++i) {
    const To element = from_float<To>(to_float(from[i]));
    std::memcpy(to + i * static_cast<int64_t>(sizeof(To)), &element, sizeof(element));
  }
}

// [4] Elements of a plain type.
template <typename T>
void store_plain(const T* from, int64_t count, ElementType type, std::byte* to) {
  if (type == element_of(kDTypeOf<T>)) {  // with their bits
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
  } else if (type == ElementType::kBFloat16) {
    convert<BFloat16>(from, count, to);
  } else if (type == ElementType::kFloat16) {
    convert<Float16>(from, count, to);
  } else {
    convert<float>(from, count, to);
  }
}

// Rotated ones: they have been rounded to nothing yet, so equal types are converted, too.
void store_turned(const float* from, int64_t count, ElementType type, std::byte* to) {
  switch (type) {
    case ElementType::kBFloat16:
      return convert<BFloat16>(from, count, to);
    case ElementType::kFloat16:
      return convert<Float16>(from, count, to);
    default:
      std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
  }
}

// [3] The greatest finite magnitude of a group, and whether there is a NaN, in one number: bits of
// magnitudes are ordered as they are, and NaN's come last.
template <ElementType kType>
uint32_t greatest_of(const float* values, int64_t count) {
  uint32_t greatest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = bits_of(values[i]) & ~float8::kSign;
    const bool counts = bits < float8::kInfinity || (!has_nan(kType) && bits > float8::kInfinity);
    const uint32_t counted = counts ? bits : 0;
    greatest = counted > greatest ? counted : greatest;
  }
  return greatest;
}

template <ElementType kType>
int64_t quantize_run(const float* values, int64_t count, float scale, std::byte* to) {
  int64_t saturated = 0;
  if constexpr (kType == ElementType::kFloat4E2M1) {
    for (int64_t i = 0; i < count / 2; ++i) {
      const uint32_t low = quantize(values[2 * i], scale, kType);
      const uint32_t high = quantize(values[2 * i + 1], scale, kType);
      to[i] = static_cast<std::byte>(low | high << 4);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      to[i] = static_cast<std::byte>(quantize(values[i], scale, kType));
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    saturated += saturates(values[i], scale, kType) ? 1 : 0;
  }
  return saturated;
}

// Where a token's scales come from.
struct Scaling {
  ScaleRule rule;
  const float* given;
  float tensor_scale;
};

void store_scale_bits(const Segment& scales, const RecordSlot& record, int64_t index,
                      uint32_t bits) {
  const int64_t size = bits_of(scales.type) / 8;
  std::byte* to = (scales.place == Place::kRow ? record.row : record.tail) + scales.offset;
  std::memcpy(to + index * size, &bits, static_cast<size_t>(size));  // little-endian
}

// [3][4] The columns that are divided by scales, group by group.
template <ElementType kType>
int64_t store_scaled(const CacheFormat& format, const float* values, const Scaling& scaling,
                     const RecordSlot& record) {
  std::byte* to = record.row + format.latent.offset;
  if (format.tensor_scale) {
    return quantize_run<kType>(values, format.columns(), scaling.tensor_scale, to);
  }
  int64_t saturated = 0;
  const int64_t group = format.scale_group;
  for (int64_t g = 0; g < format.scales.count; ++g) {
    const uint32_t greatest = greatest_of<kType>(values + g * group, group);
    const ElementType type = format.scales.type;
    const StoredScale scale = greatest > float8::kInfinity ? nan_scale(type)
                              : scaling.rule == ScaleRule::kGiven
                                  ? store_scale(scaling.given[g], type)
                                  : computed_scale(float_of(greatest), kType, type, scaling.rule);
    store_scale_bits(format.scales, record, g, scale.bits);
    saturated += quantize_run<kType>(values + g * group, group, scale.value,
                                     to + g * group * bits_of(kType) / 8);
  }
  return saturated;
}

// One call, its tensors of T.
template <typename T>
class Appending {
 public:
  Appending(const Problem& problem, const Args& args)
      : problem_(problem), args_(args), format_(problem.format()), scale_(kv_scale_of(args)) {}

  int64_t append(int64_t token) const {
    const int64_t slot = slot_of(args_, token);
    if (slot < 0) {
      return 0;
    }
    const RecordSlot record = record_of(problem_, format_, args_, slot);
    return is_plain(format_.id) ? copy_record(token, record) : quantize_record(token, record);
  }

  void turn_queries(int64_t token) const {  // [5]
    const Angles angles = angles_of(problem_, args_, token);
    for (int64_t h = 0; h < problem_.h_q; ++h) {
      T* row = reinterpret_cast<T*>(row_of(args_.q_rope, token)) + h * args_.q_rope.stride[1];
      for (int64_t pair = 0; pair < problem_.d_rope / 2; ++pair) {
        const PairColumns at = columns_of_pair(problem_.rotary, problem_.d_rope, pair);
        const Pair turned = angles.turned({to_float(row[at.x]), to_float(row[at.y])}, pair);
        row[at.x] = from_float<T>(turned.x);
        row[at.y] = from_float<T>(turned.y);
      }
    }
  }

 private:
  const T* latent_of(int64_t token) const {
    return reinterpret_cast<const T*>(row_of(args_.c_kv, token));
  }
  const T* rope_of(int64_t token) const {
    return reinterpret_cast<const T*>(row_of(args_.k_rope, token));
  }

  // [2] Calls take(pair's columns, pair) for each pair of the token's rotary key.
  template <typename Take>
  void turn_key(int64_t token, Take take) const {
    const Angles angles = angles_of(problem_, args_, token);
    const T* rope = rope_of(token);
    for (int64_t pair = 0; pair < problem_.d_rope / 2; ++pair) {
      const PairColumns at = columns_of_pair(problem_.rotary, problem_.d_rope, pair);
      take(at, angles.turned({to_float(rope[at.x]), to_float(rope[at.y])}, pair));
    }
  }

  void store_rope(int64_t token, std::byte* to) const {
    const Segment& rotary = format_.rotary;
    if (rotary.count == 0) {
      return;
    }
    if (!problem_.rotates()) {
      return store_plain(rope_of(token), rotary.count, rotary.type, to);
    }
    const int64_t size = bits_of(rotary.type) / 8;
    turn_key(token, [&](const PairColumns& at, const Pair& turned) {
      store_turned(&turned.x, 1, rotary.type, to + at.x * size);
      store_turned(&turned.y, 1, rotary.type, to + at.y * size);
    });
  }

  int64_t copy_record(int64_t token, const RecordSlot& record) const {
    store_plain(latent_of(token), format_.latent.count, format_.latent.type, record.row);
    store_rope(token, record.row + format_.rotary.offset);
    return 0;
  }

  int64_t quantize_record(int64_t token, const RecordSlot& record) const {
    float values[kMostRecordColumns];
    const T* latent = latent_of(token);
    for (int64_t c = 0; c < format_.latent.count; ++c) {
      values[c] = to_float(latent[c]);
    }
    if (scaled_columns_of(format_) > format_.latent.count) {
      fill_rope(token, values + format_.latent.count);
    } else {
      store_rope(token, record.row + format_.rotary.offset);
    }
    const Scaling scaling = {problem_.scale_rule(), given_scales_of(problem_, args_, token),
                             scale_};
    switch (format_.latent.type) {
      case ElementType::kInt8:
        return store_scaled<ElementType::kInt8>(format_, values, scaling, record);
      case ElementType::kFloat4E2M1:
        return store_scaled<ElementType::kFloat4E2M1>(format_, values, scaling, record);
      default:
        return store_scaled<ElementType::kFloat8E4M3>(format_, values, scaling, record);
    }
  }

  void fill_rope(int64_t token, float* values) const {
    if (problem_.rotates()) {
      return turn_key(token, [&](const PairColumns& at, const Pair& turned) {
        values[at.x] = turned.x;
        values[at.y] = turned.y;
      });
    }
    const T* rope = rope_of(token);
    for (int64_t c = 0; c < format_.rotary.count; ++c) {
      values[c] = to_float(rope[c]);
    }
  }

  const Problem& problem_;
  const Args& args_;
  CacheFormat format_;
  float scale_;
};

template <typename T>
void append_all(const AppendPlan& plan, const Args& args) {
  const Appending<T> appending(plan.problem, args);
  int64_t saturated = 0;
#pragma omp parallel for num_threads(threads_here(plan.options.num_threads)) \
    reduction(+ : saturated)
  for (int64_t t = 0; t < tokens_of(args); ++t) {
    saturated += appending.append(t);
    if (args.q_rope.data != nullptr) {
      appending.turn_queries(t);
    }
  }
  if (args.saturated.data != nullptr) {  // other calls may count there at the same time
    std::atomic_ref<int64_t>(*static_cast<int64_t*>(args.saturated.data)) += saturated;
  }
}

}  // namespace

Status run_cpu(const AppendPlan& plan, const Args& args, const Call&) {
  if (tokens_of(args) == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(check_tensors(plan.problem, args));
  SEESAW_RETURN_IF_ERROR(check_numbers(plan.problem, args));
  switch (plan.problem.type()) {
    case DType::kBFloat16:
      append_all<BFloat16>(plan, args);
      break;
    case DType::kFloat16:
      append_all<Float16>(plan, args);
      break;
    default:
      append_all<float>(plan, args);
  }
  return {};
}

}  // namespace seesaw::append
