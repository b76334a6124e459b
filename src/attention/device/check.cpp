#include "attention/device/check.hpp"

#include "attention/device/launch.hpp"
#include "attention/host.hpp"
#include "gpu/check_data.hpp"
#include "gpu/device.hpp"

namespace seesaw::attention::device {
namespace {

constexpr char kWhere[] = "check_data";

// The report and the second schedule lie behind the partials.
void* scratch_of(const Plan& plan, const Call& call) {
  return static_cast<char*>(call.workspace) + geometry_of(plan).partials.size_bytes();
}

bool has_block_table(const Problem& problem) {
  return problem.streams[0].kind == StreamKind::kPages;
}

gpu::LengthsToCheck lengths_to_check(const Problem& problem, const Call& call) {
  const StreamShape& shape = problem.streams[0];
  return {.seq_lens = call.streams[0].lengths,
          .stride = call.streams[0].lengths_stride,
          .batch = call.items,
          .max_pages = shape.most_tokens / shape.page_size,
          .page_size = shape.page_size};
}

// The number in device memory that the offender is.
Status read_value(const int32_t* from, cudaStream_t stream, Doubtful* found) {
  int32_t value = 0;
  SEESAW_RETURN_IF_ERROR(gpu::read_back(from, &value, sizeof(value), stream));
  found->value = value;
  return {};
}

}  // namespace

Status check_before_prepare(const Plan& plan, const Call& call, void* report, cudaStream_t stream) {
  return has_block_table(plan.attention)
             ? gpu::check_lengths(lengths_to_check(plan.attention, call), report, stream)
             : Status();
}

Status check_before_run(const Plan& plan, const Call& call, cudaStream_t stream) {
  void* scratch = scratch_of(plan, call);
  if (has_block_table(plan.attention)) {
    const Stream& pages = call.streams[0];
    SEESAW_RETURN_IF_ERROR(
        gpu::check_block_table({.lengths = lengths_to_check(plan.attention, call),
                                .ids = pages.ids,
                                .stride = pages.ids_stride_sequence,
                                .num_pages = pages.pages},
                               scratch, stream));
  }
  return gpu::check_schedule({.config = plan.split,
                              .lengths = planned_lengths(plan.attention, call),
                              .batch = call.items,
                              .schedule = call.schedule},
                             scratch, stream);
}

Status first_doubtful(const Plan& plan, const Call& call, size_t stream_index, void* stream,
                      std::optional<Doubtful>* found) {
  found->reset();
  if (call.items == 0) {
    return {};
  }
  const gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const Problem& problem = plan.attention;
  const StreamShape& shape = problem.streams[stream_index];
  const Stream& lists = call.streams[stream_index];
  unsigned long long first = gpu::kNoFault;
  SEESAW_RETURN_IF_ERROR(
      gpu::find_in_lists({.slots = lists.ids,
                          .stride_sequence = lists.ids_stride_sequence,
                          .stride_item = lists.ids_stride_token,
                          .lengths = lists.lengths,
                          .lengths_stride = lists.lengths_stride,
                          .items = call.items,
                          .items_per_sequence = problem.items_per_sequence,
                          .most = shape.most_tokens,
                          .num_slots = lists.pages * shape.page_size,
                          .first_fault = static_cast<unsigned long long*>(scratch_of(plan, call))},
                         cuda_stream, &first));
  if (first == gpu::kNoFault) {
    return {};
  }
  const auto at = static_cast<int64_t>(first);
  const int64_t item = at / (shape.most_tokens + 1);
  Doubtful& doubtful = found->emplace();
  doubtful.item = item;
  doubtful.entry = at % (shape.most_tokens + 1) - 1;
  static_assert(Doubtful::kLength == -1);  // as ListsParams numbers a length
  return doubtful.entry == Doubtful::kLength
             ? read_value(lists.lengths + item / problem.items_per_sequence * lists.lengths_stride,
                          cuda_stream, &doubtful)
             : read_value(ids_of(problem, lists, item) + doubtful.entry, cuda_stream, &doubtful);
}

}  // namespace seesaw::attention::device
