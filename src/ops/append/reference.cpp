// The definition: column by column, stored by core's write_record. Slow on purpose; the numbers are
// those of README.md.
#include <algorithm>
#include <cstring>

#include "ops/append/tokens.hpp"

namespace seesaw::append {
namespace {

// A token's columns as they arrived, and turned.
class Columns {
 public:
  Columns(const Problem& problem, const Args& args, int64_t token)
      : problem_(problem),
        latent_(row_of(args.c_kv, token)),
        rope_(args.k_rope.data == nullptr ? nullptr : row_of(args.k_rope, token)),
        angles_(angles_of(problem, args, token)) {}

  float value(int64_t column) const {  // [1][2]
    if (column < problem_.d_latent) {
      return load(problem_.type(), latent_, column);
    }
    const int64_t rope = column - problem_.d_latent;
    return problem_.rotates() ? turned(rope) : load(problem_.type(), rope_, rope);
  }

  // The element that a column arrived as, or null if it was turned.
  const std::byte* element(int64_t column) const {
    const int64_t size = size_of(problem_.type());
    if (column < problem_.d_latent) {
      return latent_ + column * size;
    }
    return problem_.rotates() ? nullptr : rope_ + (column - problem_.d_latent) * size;
  }

 private:
  float turned(int64_t rope) const {
    const int64_t half = problem_.d_rope / 2;
    const bool interleaved = problem_.rotary == SEESAW_ROTARY_INTERLEAVED;
    const int64_t pair = interleaved ? rope / 2 : rope % half;
    const PairColumns at = columns_of_pair(problem_.rotary, problem_.d_rope, pair);
    const Pair turned = angles_.turned(
        {load(problem_.type(), rope_, at.x), load(problem_.type(), rope_, at.y)}, pair);
    return rope == at.x ? turned.x : turned.y;
  }

  const Problem& problem_;
  const std::byte* latent_;
  const std::byte* rope_;
  Angles angles_;
};

// Elements of the type that they arrived in keep their bits, those of a NaN too.
void keep_bits(const Problem& problem, const CacheFormat& format, const Columns& columns,
               std::byte* row) {
  const ElementType type = element_of(problem.type());
  const int64_t size = size_of(problem.type());
  const auto keep = [&](const Segment& segment, int64_t first) {
    for (int64_t i = 0; segment.type == type && i < segment.count; ++i) {
      if (const std::byte* from = columns.element(first + i); from != nullptr) {
        std::memcpy(row + segment.offset + i * size, from, static_cast<size_t>(size));
      }
    }
  };
  keep(format.latent, 0);
  keep(format.rotary, format.latent.count);
}

// [3][4] Records of plain formats may have any number of columns: piece by piece.
int64_t store(const Problem& problem, const CacheFormat& format, const Columns& columns,
              const float* given, float tensor_scale, const RecordSlot& record) {
  float values[kMostRecordColumns];
  const auto fill = [&](int64_t begin, int64_t count) {
    for (int64_t c = 0; c < count; ++c) {
      values[c] = columns.value(begin + c);
    }
  };
  if (!is_plain(format.id)) {
    fill(0, format.columns());
    return write_record(format, values, problem.scale_rule(), given, tensor_scale, record);
  }
  const auto dtype = static_cast<DType>(format.id);
  for (int64_t begin = 0; begin < format.columns(); begin += kMostRecordColumns) {
    const int64_t count = std::min<int64_t>(kMostRecordColumns, format.columns() - begin);
    fill(begin, count);
    write_record(plain_format(dtype, count), values, ScaleRule::kPowerOfTwo, nullptr, 1.0F,
                 {record.row + begin * size_of(dtype), nullptr});
  }
  return 0;
}

void store_element(const Tensor& tensor, std::byte* row, int64_t index, float value) {
  switch (dtype_of(tensor)) {
    case DType::kBFloat16:
      reinterpret_cast<BFloat16*>(row)[index] = from_float<BFloat16>(value);
      return;
    case DType::kFloat16:
      reinterpret_cast<Float16*>(row)[index] = from_float<Float16>(value);
      return;
    default:
      reinterpret_cast<float*>(row)[index] = value;
  }
}

void turn_queries(const Problem& problem, const Args& args, int64_t token) {  // [5]
  const Angles angles = angles_of(problem, args, token);
  for (int64_t h = 0; h < problem.h_q; ++h) {
    std::byte* row =
        row_of(args.q_rope, token) + h * args.q_rope.stride[1] * element_bytes(args.q_rope);
    for (int64_t pair = 0; pair < problem.d_rope / 2; ++pair) {
      const PairColumns at = columns_of_pair(problem.rotary, problem.d_rope, pair);
      const Pair turned =
          angles.turned({load(problem.type(), row, at.x), load(problem.type(), row, at.y)}, pair);
      store_element(args.q_rope, row, at.x, turned.x);
      store_element(args.q_rope, row, at.y, turned.y);
    }
  }
}

}  // namespace

Status run_reference(const AppendPlan& plan, const Args& args, const Call&) {
  const Problem& problem = plan.problem;
  if (tokens_of(args) == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(check_tensors(problem, args));
  SEESAW_RETURN_IF_ERROR(check_numbers(problem, args));
  const CacheFormat format = problem.format();
  int64_t saturated = 0;
  for (int64_t t = 0; t < tokens_of(args); ++t) {
    if (const int64_t slot = slot_of(args, t); slot >= 0) {
      const Columns columns(problem, args, t);
      const RecordSlot record = record_of(problem, format, args, slot);
      saturated += store(problem, format, columns, given_scales_of(problem, args, t),
                         kv_scale_of(args), record);
      keep_bits(problem, format, columns, record.row);
    }
    if (args.q_rope.data != nullptr) {
      turn_queries(problem, args, t);
    }
  }
  if (args.saturated.data != nullptr) {
    *static_cast<int64_t*>(args.saturated.data) += saturated;
  }
  return {};
}

}  // namespace seesaw::append
