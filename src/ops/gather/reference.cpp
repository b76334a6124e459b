// The definition: a token after the other, each read as double and rounded. Slow on purpose; the
// numbers are those of README.md.
#include <cstring>
#include <vector>

#include "base/float16.hpp"
#include "ops/gather/problem.hpp"

namespace seesaw::gather {
namespace {

// Element times scale is exact in double, so that this is their product in float32, rounded once
// more to out's dtype.
template <typename T>
void store(double value, std::byte* row, int64_t column) {
  const T rounded = from_float<T>(static_cast<float>(value));
  std::memcpy(row + column * static_cast<int64_t>(sizeof(T)), &rounded, sizeof(T));
}

void write_numbers(const GatherPlan& plan, const RecordView& record, float kv_scale,
                   std::byte* row) {
  const int64_t columns = plan.problem.columns;
  std::vector<double> values(static_cast<size_t>(columns));
  read_record(plan.format, record, static_cast<double>(kv_scale), values.data());
  for (int64_t c = 0; c < columns; ++c) {
    const double value = values[static_cast<size_t>(c)];
    switch (plan.problem.out_type()) {
      case DType::kBFloat16:
        store<BFloat16>(value, row, c);
        break;
      case DType::kFloat16:
        store<Float16>(value, row, c);
        break;
      default:
        store<float>(value, row, c);
    }
  }
}

void write_bytes(const CacheFormat& format, const RecordView& record, std::byte* row) {
  for (int32_t i = 0; i < format.row_bytes; ++i) {
    row[i] = record.row[i];
  }
  for (int32_t i = 0; i < format.tail_bytes; ++i) {
    row[format.row_bytes + i] = record.tail[i];
  }
}

void write_row(const GatherPlan& plan, const Args& args, const TokenPlace& place,
               int64_t r) {  // [2]
  std::byte* const row = row_of(args, r);
  if (place.page == TokenPlace::kNone) {
    for (int64_t i = 0; i < plan.problem.out_row_bytes(); ++i) {
      row[i] = std::byte{0};
    }
    return;
  }
  const RecordView record = record_of(plan, args, place);
  if (plan.problem.copies()) {
    write_bytes(plan.format, record, row);
  } else {
    write_numbers(plan, record, kv_scale_of(args), row);
  }
}

}  // namespace

Status run_reference(const GatherPlan& plan, const Args& args, const Call&) {
  const Problem& problem = plan.problem;
  SEESAW_RETURN_IF_ERROR(check_call(args));
  SEESAW_RETURN_IF_ERROR(check_pages(problem, args));
  if (by_slots(args)) {
    for (int64_t r = 0; r < rows_of(args); ++r) {  // [1]
      write_row(plan, args, place_of_slot(problem, args, slot_of(args, r)), r);
    }
    return {};
  }
  for (int64_t i = 0; i < batch_of(args); ++i) {  // [1]
    const int64_t begin = entry(args.cu_seq_lens, i);
    for (int64_t r = begin; r < entry(args.cu_seq_lens, i + 1); ++r) {
      write_row(plan, args, place_of_token(problem, args, i, start_of(args, i) + r - begin), r);
    }
  }
  return {};
}

}  // namespace seesaw::gather
