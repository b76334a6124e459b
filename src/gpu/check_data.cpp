#include "gpu/check_data.hpp"

#include <cstdint>
#include <string>

#include "base/message.hpp"
#include "gpu/device.hpp"
#include "gpu/schedule.hpp"

namespace seesaw::gpu {
namespace {

constexpr const char* kWhere = "check_data";
Status failed(cudaError_t error, const char* what) { return status_of(error, kWhere, what); }

template <typename T>
Status read_back(const void* from, T* to, cudaStream_t stream) {
  return gpu::read_back(from, to, sizeof(T), stream);
}

// Launches the check, and waits for the least fault it reports.
template <typename Params>
Status find_first(const Params& params, cudaStream_t stream, unsigned long long* first) {
  SEESAW_RETURN_IF_ERROR(refuse_while_capturing(stream));
  SEESAW_RETURN_IF_ERROR(failed(launch_check(params, stream), "launching a check"));
  return read_back(params.first_fault, first, stream);
}

// Which entry of the schedule 32-bit word `word` belongs to.
std::string name_of_word(const split::SplitConfig& config, int64_t word) {
  const split::ScheduleView view = split::schedule_view(nullptr, config);
  const auto word_of = [](const void* place) {
    return static_cast<int64_t>(reinterpret_cast<uintptr_t>(place) / 4);
  };
  if (word < word_of(view.worker_pieces)) {
    return fmt::format("header word {}", word);
  }
  if (word < word_of(view.item_piece_begin)) {
    const int64_t in_workers = word - word_of(view.worker_pieces);
    const char* fields[] = {"begin", "end", "rest", "tag"};
    return fmt::format("worker_pieces[{}].{}", in_workers / 4, fields[in_workers % 4]);
  }
  if (word < word_of(view.pieces)) {
    return fmt::format("item_piece_begin[{}]", word - word_of(view.item_piece_begin));
  }
  const char* fields[] = {"sequence", "row_group", "tile_begin",
                          "tile_end", "partial",   "sequence_tiles"};
  constexpr auto kWords = static_cast<int64_t>(std::size(fields));
  static_assert(kWords * sizeof(int32_t) == sizeof(split::Piece));
  const int64_t in_pieces = word - word_of(view.pieces);
  return fmt::format("pieces[{}].{}", in_pieces / kWords, fields[in_pieces % kWords]);
}

}  // namespace

Status read_back(const void* from, void* to, size_t bytes, cudaStream_t stream) {
  SEESAW_RETURN_IF_ERROR(failed(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream),
                                "copying a check's result"));
  return failed(cudaStreamSynchronize(stream), "waiting for a check");
}

Status refuse_while_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  SEESAW_RETURN_IF_ERROR(failed(cudaStreamIsCapturing(stream, &status), "asking for the capture"));
  if (status == cudaStreamCaptureStatusNone) {
    return {};
  }
  return not_supported(
      four_part_message(kWhere, "SEESAW_CHECK on a stream that is capturing a graph",
                        "a stream that can be waited for",
                        "Check calls outside the capture, or unset SEESAW_CHECK."));
}

size_t check_bytes(const split::SplitConfig& config) {
  return split::kScheduleAlignment + split::schedule_bytes(config);
}

Status check_lengths(const LengthsToCheck& lengths, void* report, cudaStream_t stream) {
  const LengthsParams params = {
      .seq_lens = lengths.seq_lens,
      .stride = lengths.stride,
      .batch = lengths.batch,
      .max_tokens = lengths.max_tokens(),
      .first_fault = static_cast<unsigned long long*>(report),
  };
  unsigned long long first = kNoFault;
  SEESAW_RETURN_IF_ERROR(find_first(params, stream, &first));
  if (first == kNoFault) {
    return {};
  }
  int32_t length = 0;
  SEESAW_RETURN_IF_ERROR(
      read_back(params.seq_lens + static_cast<int64_t>(first) * params.stride, &length, stream));
  return invalid_argument(
      four_part_message(kWhere, fmt::format("seq_lens[{}] = {}", first, length),
                        fmt::format("0 to {} (max_pages_per_sequence = {} pages of {})",
                                    params.max_tokens, lengths.max_pages, lengths.page_size),
                        "Correct the length, or widen the block table."));
}

Status check_block_table(const BlockTableToCheck& table, void* report, cudaStream_t stream) {
  const LengthsToCheck& lengths = table.lengths;
  SEESAW_RETURN_IF_ERROR(check_lengths(lengths, report, stream));
  const BlockTableParams params = {
      .seq_lens = lengths.seq_lens,
      .seq_len_stride = lengths.stride,
      .table = table.ids,
      .table_stride = table.stride,
      .batch = lengths.batch,
      .page_size = lengths.page_size,
      .num_pages = table.num_pages,
      .columns = lengths.max_pages,
      .first_fault = static_cast<unsigned long long*>(report),
  };
  unsigned long long first = kNoFault;
  SEESAW_RETURN_IF_ERROR(find_first(params, stream, &first));
  if (first == kNoFault) {
    return {};
  }
  const int64_t sequence = static_cast<int64_t>(first) / params.columns;
  const int64_t column = static_cast<int64_t>(first) % params.columns;
  int32_t id = 0;
  int32_t length = 0;
  SEESAW_RETURN_IF_ERROR(
      read_back(params.table + sequence * params.table_stride + column, &id, stream));
  SEESAW_RETURN_IF_ERROR(
      read_back(params.seq_lens + sequence * params.seq_len_stride, &length, stream));
  return invalid_argument(
      four_part_message(kWhere, fmt::format("block_table[{}, {}] = {}", sequence, column, id),
                        fmt::format("0 to {} (num_pages - 1), as seq_lens[{}] = {} needs {} pages",
                                    params.num_pages - 1, sequence, length,
                                    ceil_div<int64_t>(length, params.page_size)),
                        "Correct the page id or the length."));
}

Status check_schedule(const ScheduleToCheck& call, void* scratch, cudaStream_t stream) {
  SEESAW_RETURN_IF_ERROR(refuse_while_capturing(stream));
  void* rebuilt = static_cast<char*>(scratch) + split::kScheduleAlignment;
  const ScheduleCall again = {
      .config = call.config,
      .lengths = call.lengths,
      .batch = static_cast<int32_t>(call.batch),
      .schedule = rebuilt,
  };
  SEESAW_RETURN_IF_ERROR(launch_schedule(again, stream));
  const ScheduleParams params = {
      .given = static_cast<const uint32_t*>(call.schedule),
      .wanted = static_cast<const uint32_t*>(rebuilt),
      .config = call.config,
      .batch = again.batch,
      .first_fault = static_cast<unsigned long long*>(scratch),
  };
  unsigned long long first = kNoFault;
  SEESAW_RETURN_IF_ERROR(find_first(params, stream, &first));
  if (first == kNoFault) {
    return {};
  }
  int32_t given = 0;
  int32_t wanted = 0;
  SEESAW_RETURN_IF_ERROR(read_back(params.given + first, &given, stream));
  SEESAW_RETURN_IF_ERROR(read_back(params.wanted + first, &wanted, stream));
  return invalid_argument(
      four_part_message(kWhere,
                        fmt::format("{} of the schedule = {}",
                                    name_of_word(call.config, static_cast<int64_t>(first)), given),
                        fmt::format("{}, for this plan and these lengths", wanted),
                        "Call seesaw_plan_prepare again whenever lengths change."));
}

Status find_in_lists(const ListsParams& params, cudaStream_t stream, unsigned long long* first) {
  return find_first(params, stream, first);
}

}  // namespace seesaw::gpu
