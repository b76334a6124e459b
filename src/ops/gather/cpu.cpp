// cpu.gather: rows shared out over threads; bytes by memcpy, numbers in float32. The numbers are
// those of README.md.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/float16.hpp"
#include "base/float8.hpp"
#include "base/fork.hpp"
#include "ops/gather/problem.hpp"

namespace seesaw::gather {
namespace {

// The sequence that row r belongs to: the last that begins at r or before it, which passes over
// empty ones.
int64_t sequence_of(const Args& args, int64_t r) {
  int64_t begin = 0;
  int64_t end = batch_of(args);
  while (end - begin > 1) {
    const int64_t middle = begin + (end - begin) / 2;
    (entry(args.cu_seq_lens, middle) <= r ? begin : end) = middle;
  }
  return begin;
}

TokenPlace place_of_row(const Problem& problem, const Args& args, int64_t r) {  // [1]
  if (by_slots(args)) {
    return place_of_slot(problem, args, slot_of(args, r));
  }
  const int64_t sequence = sequence_of(args, r);
  const int64_t token = start_of(args, sequence) + r - entry(args.cu_seq_lens, sequence);
  return place_of_token(problem, args, sequence, token);
}

// ---- numbers

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

std::array<float, 256> all_of(float (*value)(uint8_t)) {
  std::array<float, 256> values;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = value(static_cast<uint8_t>(i));
  }
  return values;
}
const std::array<float, 256> kE4M3 = all_of(from_e4m3);
const std::array<float, 256> kE8M0 = all_of(from_e8m0);

// Calls take(i, number) for elements [begin, end) of a segment; one loop a type.
template <typename Take>
void for_each(const Segment& segment, const RecordView& record, int32_t begin, int32_t end,
              Take take) {
  const std::byte* const from =
      (segment.place == Place::kRow ? record.row : record.tail) + segment.offset;
  const auto run = [&](auto number) {
    for (int32_t i = begin; i < end; ++i) {
      take(i, number(i));
    }
  };
  const auto byte = [from](int32_t i) { return static_cast<uint8_t>(from[i]); };
  switch (segment.type) {
    case ElementType::kFloat32:
      return run([&](int32_t i) { return load<float>(from + 4 * i); });
    case ElementType::kBFloat16:
      return run([&](int32_t i) { return to_float(load<BFloat16>(from + 2 * i)); });
    case ElementType::kFloat16:
      return run([&](int32_t i) { return to_float(load<Float16>(from + 2 * i)); });
    case ElementType::kInt8:
      return run([&](int32_t i) { return static_cast<float>(static_cast<int8_t>(byte(i))); });
    case ElementType::kFloat8E4M3:
      return run([&](int32_t i) { return kE4M3[byte(i)]; });
    case ElementType::kFloat8E8M0:
      return run([&](int32_t i) { return kE8M0[byte(i)]; });
    case ElementType::kFloat4E2M1:
      return run([&](int32_t i) {
        return from_e2m1(static_cast<uint8_t>(byte(i / 2) >> (i % 2 * 4) & 0xF));
      });
  }
}

// Columns [begin, end) of the record, which lie in one segment, times one scale.
struct Run {
  int32_t begin;
  int32_t end;
  float scale;
};

template <typename T>
void write_run(const GatherPlan& plan, const RecordView& record, const Run& run, float kv_scale,
               T* row) {
  const int32_t d_latent = plan.format.latent.count;
  const bool rotary = run.begin >= d_latent;
  const int32_t first = rotary ? d_latent : 0;
  const auto take = [&](auto finish) {
    for_each(rotary ? plan.format.rotary : plan.format.latent, record, run.begin - first,
             run.end - first,
             [&](int32_t i, float number) { row[first + i] = from_float<T>(finish(number)); });
  };
  if (plan.format.tensor_scale) {
    take([&](float number) { return number * run.scale * kv_scale; });
  } else {
    take([&](float number) { return number * run.scale; });
  }
}

template <typename T>
void write_numbers(const GatherPlan& plan, const RecordView& record, float kv_scale,
                   std::byte* to) {
  const CacheFormat& format = plan.format;
  T* const row = reinterpret_cast<T*>(to);
  for (int32_t begin = 0; begin < format.columns();) {
    // To the end of the segment, or of the columns that share a scale.
    int32_t end = begin < format.latent.count ? format.latent.count : format.columns();
    float scale = 1.0F;
    if (begin < format.scaled_columns) {
      const int32_t group = begin / format.scale_group;
      for_each(format.scales, record, group, group + 1,
               [&](int32_t, float number) { scale = number; });
      end = std::min(end, (group + 1) * format.scale_group);
    }
    write_run(plan, record, {begin, end, scale}, kv_scale, row);
    begin = end;
  }
}

// ---- rows

void write_row(const GatherPlan& plan, const Args& args, float kv_scale, int64_t r) {
  std::byte* const row = row_of(args, r);
  const TokenPlace place = place_of_row(plan.problem, args, r);
  if (place.page == TokenPlace::kNone) {
    std::memset(row, 0, static_cast<size_t>(plan.problem.out_row_bytes()));
    return;
  }
  const RecordView record = record_of(plan, args, place);  // [2]
  if (plan.problem.copies()) {
    const auto row_bytes = static_cast<size_t>(plan.format.row_bytes);
    std::memcpy(row, record.row, row_bytes);
    if (plan.format.tail_bytes > 0) {
      std::memcpy(row + row_bytes, record.tail, static_cast<size_t>(plan.format.tail_bytes));
    }
    return;
  }
  switch (plan.problem.out_type()) {
    case DType::kBFloat16:
      return write_numbers<BFloat16>(plan, record, kv_scale, row);
    case DType::kFloat16:
      return write_numbers<Float16>(plan, record, kv_scale, row);
    default:
      return write_numbers<float>(plan, record, kv_scale, row);
  }
}

}  // namespace

Status run_cpu(const GatherPlan& plan, const Args& args, const Call&) {
  SEESAW_RETURN_IF_ERROR(check_call(args));
  SEESAW_RETURN_IF_ERROR(check_pages(plan.problem, args));
  const int64_t rows = rows_written(args);
  const float kv_scale = kv_scale_of(args);
#pragma omp parallel for num_threads(threads_here(plan.options.num_threads))
  for (int64_t r = 0; r < rows; ++r) {
    write_row(plan, args, kv_scale, r);
  }
  return {};
}

}  // namespace seesaw::gather
