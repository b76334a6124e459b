#include "gpu/check_data.hpp"

#include <cstdint>
#include <string>

#include "base/message.hpp"
#include "gpu/check_kernels.hpp"
#include "gpu/device.hpp"
#include "gpu/schedule.hpp"

namespace seesaw::gpu {

using dense_decode::Args;
using dense_decode::batch_of;
using dense_decode::DenseDecodePlan;
using dense_decode::DenseDecodeProblem;

namespace {

constexpr const char* kWhere = "dense_decode";
Status failed(cudaError_t error, const char* what) { return status_of(error, kWhere, what); }

// Copies one word from the device and waits for it.
template <typename T>
Status read_back(const void* from, T* to, cudaStream_t stream) {
  SEESAW_RETURN_IF_ERROR(
      failed(cudaMemcpyAsync(to, from, sizeof(T), cudaMemcpyDeviceToHost, stream),
             "copying a check's result"));
  return failed(cudaStreamSynchronize(stream), "waiting for a check");
}

// Launches the check, and waits for the least fault it reports.
template <typename Params>
Status find_first(const Params& params, cudaStream_t stream, unsigned long long* first) {
  SEESAW_RETURN_IF_ERROR(failed(launch_check(params, stream), "launching a check"));
  return read_back(params.first_fault, first, stream);
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

Status check_block_table(const DenseDecodeProblem& problem, const Args& args, void* report,
                         cudaStream_t stream) {
  const Tensor& lengths = args.seq_lens;
  const Tensor& table = args.block_table;
  const BlockTableParams params = {
      .seq_lens = static_cast<const int32_t*>(lengths.data),
      .seq_len_stride = lengths.stride[0],
      .table = static_cast<const int32_t*>(table.data),
      .table_stride = table.stride[0],
      .batch = batch_of(args),
      .page_size = problem.page_size,
      .num_pages = args.kv_cache.shape[0],
      .columns = problem.max_pages_per_sequence,
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

// Which entry of the schedule 32-bit word `word` belongs to.
std::string name_of_word(const split::SplitConfig& config, int64_t word) {
  const split::ScheduleView view = split::schedule_view(nullptr, config);
  const auto word_of = [](const void* place) {
    return static_cast<int64_t>(reinterpret_cast<uintptr_t>(place) / 4);
  };
  if (word < word_of(view.worker_piece_begin)) {
    return fmt::format("header word {}", word);
  }
  if (word < word_of(view.sequence_piece_begin)) {
    return fmt::format("worker_piece_begin[{}]", word - word_of(view.worker_piece_begin));
  }
  if (word < word_of(view.pieces)) {
    return fmt::format("sequence_piece_begin[{}]", word - word_of(view.sequence_piece_begin));
  }
  const char* fields[] = {"sequence", "tile_begin", "tile_end", "partial"};
  const int64_t in_pieces = word - word_of(view.pieces);
  return fmt::format("pieces[{}].{}", in_pieces / 4, fields[in_pieces % 4]);
}

Status check_schedule(const DenseDecodePlan& plan, const Args& args, const void* schedule,
                      void* report, void* rebuilt, cudaStream_t stream) {
  const ScheduleCall again = {
      .config = plan.split,
      .seq_lens = static_cast<const int32_t*>(args.seq_lens.data),
      .seq_len_stride = args.seq_lens.stride[0],
      .batch = static_cast<int32_t>(batch_of(args)),
      .schedule = rebuilt,
  };
  SEESAW_RETURN_IF_ERROR(launch_schedule(again, stream));
  const ScheduleParams params = {
      .given = static_cast<const uint32_t*>(schedule),
      .wanted = static_cast<const uint32_t*>(rebuilt),
      .config = plan.split,
      .batch = again.batch,
      .first_fault = static_cast<unsigned long long*>(report),
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
                                    name_of_word(plan.split, static_cast<int64_t>(first)), given),
                        fmt::format("{}, for this plan and these seq_lens", wanted),
                        "Call seesaw_plan_prepare again whenever seq_lens change."));
}

}  // namespace

size_t check_bytes(const split::SplitConfig& config) {
  return split::kScheduleAlignment + split::schedule_bytes(config);
}

Status check_lengths(const DenseDecodeProblem& problem, const Tensor& seq_lens, void* report,
                     cudaStream_t stream) {
  SEESAW_RETURN_IF_ERROR(refuse_while_capturing(stream));
  const LengthsParams params = {
      .seq_lens = static_cast<const int32_t*>(seq_lens.data),
      .stride = seq_lens.stride[0],
      .batch = seq_lens.shape[0],
      .max_tokens = problem.max_tokens(),
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
  return invalid_argument(four_part_message(
      kWhere, fmt::format("seq_lens[{}] = {}", first, length),
      fmt::format("0 to {} (max_pages_per_sequence = {} pages of {})", params.max_tokens,
                  problem.max_pages_per_sequence, problem.page_size),
      "Correct the length, or widen the block table."));
}

Status check_call(const DenseDecodePlan& plan, const Args& args, const Call& call, void* scratch) {
  const auto stream = static_cast<cudaStream_t>(call.stream);
  void* rebuilt = static_cast<char*>(scratch) + split::kScheduleAlignment;
  SEESAW_RETURN_IF_ERROR(check_lengths(plan.problem, args.seq_lens, scratch, stream));
  SEESAW_RETURN_IF_ERROR(check_block_table(plan.problem, args, scratch, stream));
  return check_schedule(plan, args, call.schedule, scratch, rebuilt, stream);
}

}  // namespace seesaw::gpu
