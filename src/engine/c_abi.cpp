// The C ABI of dense decoding: validate, select, plan, schedule, launch.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "engine/stats.hpp"
#include "engine/structs.hpp"
#include "engine/tuning.hpp"
#include "base/message.hpp"
#include "boundary/error.hpp"
#include "boundary/sized.hpp"
#include "split/check_schedule.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/validate.hpp"
#include "ops/dense_decode/operation.hpp"

struct seesaw_dense_decode_plan {
  const seesaw::engine::DenseDecodeKernel* kernel;
  seesaw::DenseDecodePlan plan;
  bool tuned = false;
  std::string tuning;
  std::string tuning_key;
};

namespace seesaw::engine {
namespace {

constexpr const char* kWhere = "dense_decode";
constexpr uint64_t kBufferAlignment = 256;

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

Status require(const void* pointer, const char* name) {
  return require_pointer(kWhere, pointer, name);
}

// The kernel insisted on, or the first that can; the reasons of all if none can.
Status select(const DenseDecodeProblem& problem, const engine::DenseDecodeKernel** selected) {
  std::string names;
  std::string reasons;
  for (const engine::DenseDecodeKernel& kernel : engine::dense_decode_kernels()) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", kernel.name);
    if (!problem.kernel.empty() && problem.kernel != kernel.name) {
      continue;
    }
    const Support support = engine::supports(kernel, problem);
    if (support.supported) {
      *selected = &kernel;
      return {};
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", kernel.name, support.reason);
  }
  if (reasons.empty()) {
    return bad(fmt::format("kernel = \"{}\"", problem.kernel), names,
               "Name one of these, or none to let the library choose.");
  }
  return not_supported(
      four_part_message(kWhere,
                        problem.kernel.empty() ? "a problem that no kernel of this build runs here"
                                               : "a problem that the kernel insisted on cannot run",
                        fmt::format("what the kernels support ({})", reasons),
                        "Change the problem accordingly, or choose another device or kernel."));
}

Status check_buffer(const char* name, const void* data, uint64_t given_bytes,
                    uint64_t needed_bytes) {
  if (needed_bytes == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(require(data, name));
  if (given_bytes < needed_bytes) {
    return bad(fmt::format("{}_bytes = {}", name, given_bytes),
               fmt::format("at least {}", needed_bytes),
               "Ask seesaw_dense_decode_plan_get_info for the size.");
  }
  if (reinterpret_cast<uintptr_t>(data) % kBufferAlignment != 0) {
    return bad(fmt::format("{} at address {}", name, data),
               fmt::format("multiples of {} bytes", kBufferAlignment), "Allocate it aligned.");
  }
  return {};
}

const engine::DenseDecodeKernel* kernel_of(const seesaw_dense_decode_plan* plan) {
  return plan == nullptr ? nullptr : plan->kernel;
}

bool on_host(const DenseDecodePlan& plan) { return plan.problem.device.type == DeviceType::kCpu; }

Status answer_supports(const seesaw_dense_decode_problem* problem, seesaw_kernel_support* rows,
                uint64_t capacity, uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require(count, "count"));
  if (capacity > 0) {
    SEESAW_RETURN_IF_ERROR(require(rows, "rows"));
  }
  DenseDecodeProblem asked;
  SEESAW_RETURN_IF_ERROR(read_problem(problem, &asked));
  const auto kernels = engine::dense_decode_kernels();
  for (uint64_t i = 0; i < std::min<uint64_t>(capacity, kernels.size()); ++i) {
    const Support support = engine::supports(kernels[i], asked);
    rows[i].kernel = kernels[i].name;
    rows[i].supported = support.supported ? 1 : 0;
    std::snprintf(rows[i].reason, sizeof(rows[i].reason), "%s", support.reason.c_str());
  }
  *count = kernels.size();
  return {};
}

Status plan_create(const seesaw_dense_decode_problem* problem, seesaw_dense_decode_plan** plan) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  *plan = nullptr;
  auto made = std::make_unique<seesaw_dense_decode_plan>();
  DenseDecodeProblem asked;
  SEESAW_RETURN_IF_ERROR(read_problem(problem, &asked));
  SEESAW_RETURN_IF_ERROR(select(asked, &made->kernel));
  TunedPlan planned;
  SEESAW_RETURN_IF_ERROR(make_plan(*made->kernel, asked, &planned));
  made->plan = std::move(planned.plan);
  made->tuned = planned.tuned;
  made->tuning = std::move(planned.tuning);
  made->tuning_key = std::move(planned.key);
  SEESAW_RETURN_IF_ERROR(split::check_config(made->plan.split));
  count_plan(*made->kernel, made->plan);
  *plan = made.release();
  return {};
}

Status plan_get_info(const seesaw_dense_decode_plan* plan, seesaw_dense_decode_plan_info* info) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  seesaw_dense_decode_plan_info filled = {};
  filled.kernel = plan->kernel->name;
  filled.workspace_bytes = plan->plan.workspace_bytes;
  filled.schedule_bytes = split::schedule_bytes(plan->plan.split);
  filled.num_workers = plan->plan.split.num_workers;
  filled.tile_tokens = plan->plan.split.tile_tokens;
  filled.tile_rows = plan->plan.tile_rows;
  filled.fixed_split_tiles = plan->plan.split.fixed_split_tiles;
  filled.piece_cost_tiles = plan->plan.split.piece_cost_tiles;
  filled.split_cost_tiles = plan->plan.split.split_cost_tiles;
  filled.chunk_tokens = plan->plan.chunk_tokens;
  filled.tuned = plan->tuned ? 1 : 0;
  filled.tuning = plan->tuning.c_str();
  filled.tuning_key = plan->tuning_key.c_str();
  return write_plan_info(filled, info);
}

Status schedule(const seesaw_dense_decode_plan* plan, const seesaw_tensor* seq_lens, void* buffer,
                uint64_t buffer_bytes, void* stream) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  SEESAW_RETURN_IF_ERROR(require(seq_lens, "seq_lens"));
  const DenseDecodePlan& planned = plan->plan;
  TensorView lengths;
  SEESAW_RETURN_IF_ERROR(read_tensor("seq_lens", *seq_lens, &lengths));
  SEESAW_RETURN_IF_ERROR(validate_seq_lens(planned.problem, lengths));
  SEESAW_RETURN_IF_ERROR(
      check_buffer("schedule", buffer, buffer_bytes, split::schedule_bytes(planned.split)));
  if (on_host(planned)) {
    SEESAW_RETURN_IF_ERROR(check_host_lengths(planned.problem, lengths));
  }
  SEESAW_RETURN_IF_ERROR(plan->kernel->schedule(planned, lengths, buffer, stream));
  count_schedule(*plan->kernel, planned, buffer);
  return {};
}

Status schedule_pieces(const seesaw_dense_decode_plan* plan, const void* buffer,
                       uint64_t buffer_bytes, seesaw_piece* pieces, uint64_t capacity,
                       uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  SEESAW_RETURN_IF_ERROR(require(count, "count"));
  const split::SplitConfig& split = plan->plan.split;
  SEESAW_RETURN_IF_ERROR(
      check_buffer("schedule", buffer, buffer_bytes, split::schedule_bytes(split)));
  if (capacity > 0) {
    SEESAW_RETURN_IF_ERROR(require(pieces, "pieces"));
  }
  SEESAW_RETURN_IF_ERROR(split::check_schedule_header(split, buffer));
  const split::ScheduleView view = split::schedule_view(const_cast<void*>(buffer), split);
  const int32_t num_pieces = view.header->num_pieces;
  for (int32_t worker = 0; worker < split.num_workers; ++worker) {
    const int32_t begin = std::max(view.worker_piece_begin[worker], 0);
    const int32_t end = std::min(view.worker_piece_begin[worker + 1], num_pieces);
    for (int32_t i = begin; i < end; ++i) {
      if (static_cast<uint64_t>(i) < capacity) {
        const split::Piece& piece = view.pieces[i];
        pieces[i] = {worker, piece.sequence, piece.tile_begin, piece.tile_end, piece.partial};
      }
    }
  }
  *count = static_cast<uint64_t>(view.header->num_pieces);
  return {};
}

// The arguments of a call, checked against the plan.
Status read_call(const seesaw_dense_decode_plan* plan, const seesaw_dense_decode_args* args,
                 DenseDecodeArguments* call) {
  SEESAW_RETURN_IF_ERROR(require(plan, "plan"));
  const DenseDecodePlan& planned = plan->plan;
  DenseDecodeArguments& arguments = *call;
  CallBuffers buffers;
  SEESAW_RETURN_IF_ERROR(read_arguments(args, &arguments, &buffers));
  SEESAW_RETURN_IF_ERROR(validate_arguments(planned.problem, arguments));
  SEESAW_RETURN_IF_ERROR(check_buffer("schedule", arguments.schedule, buffers.schedule_bytes,
                                      split::schedule_bytes(planned.split)));
  SEESAW_RETURN_IF_ERROR(check_buffer("workspace", arguments.workspace, buffers.workspace_bytes,
                                      planned.workspace_bytes));
  if (on_host(planned)) {
    SEESAW_RETURN_IF_ERROR(check_host_lengths(planned.problem, arguments.seq_lens));
    SEESAW_RETURN_IF_ERROR(check_host_block_table(planned.problem, arguments));
    SEESAW_RETURN_IF_ERROR(split::check_schedule(
        planned.split, static_cast<const int32_t*>(arguments.seq_lens.data),
        arguments.seq_lens.stride[0], static_cast<int32_t>(arguments.batch), arguments.schedule));
  }
  return {};
}

Status run(const seesaw_dense_decode_plan* plan, const seesaw_dense_decode_args* args) {
  DenseDecodeArguments arguments;
  SEESAW_RETURN_IF_ERROR(read_call(plan, args, &arguments));
  if (arguments.batch == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(plan->kernel->run(plan->plan, arguments));
  count_run(*plan->kernel, plan->plan, arguments);
  return {};
}

Status trace(const seesaw_dense_decode_plan* plan, const seesaw_dense_decode_args* args,
             seesaw_trace_span* spans, uint64_t capacity, uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require(count, "count"));
  if (capacity > 0) {
    SEESAW_RETURN_IF_ERROR(require(spans, "spans"));
  }
  DenseDecodeArguments arguments;
  SEESAW_RETURN_IF_ERROR(read_call(plan, args, &arguments));
  if (plan->kernel->trace == nullptr) {
    return not_supported(
        four_part_message("dense_decode_trace", fmt::format("a plan of {}", plan->kernel->name),
                          "kernels with a traced variant (cpu.dense_decode, sm90.dense_decode)",
                          "Insist on one of them, or use seesaw_dense_decode_run."));
  }
  split::Trace found;
  if (arguments.batch > 0) {
    SEESAW_RETURN_IF_ERROR(plan->kernel->trace(plan->plan, arguments, &found));
  }
  for (uint64_t i = 0; i < std::min<uint64_t>(capacity, found.spans.size()); ++i) {
    const split::TraceSpan& span = found.spans[i];
    spans[i] = {span.step, span.worker,   span.part,  span.sequence,
                span.tile, span.begin_us, span.end_us};
  }
  *count = found.spans.size() + found.dropped;
  return {};
}

}  // namespace
}  // namespace seesaw::engine

using seesaw::at_boundary;
using seesaw::engine::counted;
using seesaw::engine::StatsFunction;

extern "C" {

const char* seesaw_version(void) { return SEESAW_VERSION_STRING; }

seesaw_status seesaw_dense_decode_supports(const seesaw_dense_decode_problem* problem,
                                           seesaw_kernel_support* rows, uint64_t capacity,
                                           uint64_t* count) {
  return at_boundary("dense_decode_supports",
                     [&] { return seesaw::engine::answer_supports(problem, rows, capacity, count); });
}

seesaw_status seesaw_dense_decode_plan_create(const seesaw_dense_decode_problem* problem,
                                              seesaw_dense_decode_plan** plan) {
  const seesaw::engine::NvtxRange range("dense_decode_plan_create", nullptr);
  const seesaw::engine::CountedCall call(StatsFunction::kPlan);
  const seesaw_status status = at_boundary("dense_decode_plan_create",
                                           [&] { return seesaw::engine::plan_create(problem, plan); });
  return call.finish(status == SEESAW_OK ? (*plan)->kernel : nullptr, status);
}

void seesaw_dense_decode_plan_destroy(seesaw_dense_decode_plan* plan) {
  if (plan != nullptr) {
    seesaw::engine::count_plan_destroyed(*plan->kernel);
    delete plan;
  }
}

seesaw_status seesaw_dense_decode_plan_get_info(const seesaw_dense_decode_plan* plan,
                                                seesaw_dense_decode_plan_info* info) {
  return at_boundary("dense_decode_plan_get_info",
                     [&] { return seesaw::engine::plan_get_info(plan, info); });
}

seesaw_status seesaw_dense_decode_schedule(const seesaw_dense_decode_plan* plan,
                                           const seesaw_tensor* seq_lens, void* schedule,
                                           uint64_t schedule_bytes, void* stream) {
  return counted(
      "dense_decode_schedule", StatsFunction::kSchedule, seesaw::engine::kernel_of(plan),
      [&] { return seesaw::engine::schedule(plan, seq_lens, schedule, schedule_bytes, stream); });
}

seesaw_status seesaw_dense_decode_schedule_pieces(const seesaw_dense_decode_plan* plan,
                                                  const void* schedule, uint64_t schedule_bytes,
                                                  seesaw_piece* pieces, uint64_t capacity,
                                                  uint64_t* count) {
  return at_boundary("dense_decode_schedule_pieces", [&] {
    return seesaw::engine::schedule_pieces(plan, schedule, schedule_bytes, pieces, capacity, count);
  });
}

seesaw_status seesaw_dense_decode_run(const seesaw_dense_decode_plan* plan,
                                      const seesaw_dense_decode_args* args) {
  return counted("dense_decode_run", StatsFunction::kRun, seesaw::engine::kernel_of(plan),
                 [&] { return seesaw::engine::run(plan, args); });
}

seesaw_status seesaw_dense_decode_trace(const seesaw_dense_decode_plan* plan,
                                        const seesaw_dense_decode_args* args,
                                        seesaw_trace_span* spans, uint64_t capacity,
                                        uint64_t* count) {
  return at_boundary("dense_decode_trace",
                     [&] { return seesaw::engine::trace(plan, args, spans, capacity, count); });
}

}  // extern "C"
