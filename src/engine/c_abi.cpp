// The C ABI of operations: read, check, and hand on to the kernel's functions.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/message.hpp"
#include "boundary/error.hpp"
#include "boundary/sized.hpp"
#include "engine/arguments.hpp"
#include "engine/plan.hpp"
#include "engine/problem_of.hpp"
#include "engine/read.hpp"
#include "engine/stats.hpp"

namespace seesaw::engine {
namespace {

// Checks where a list is to be written.
Status check_list(const char* where, const void* rows, uint64_t row_bytes, size_t known,
                  uint64_t capacity, const uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require_pointer(where, count, "count"));
  SEESAW_RETURN_IF_ERROR(check_row_bytes(where, row_bytes, known));
  return capacity > 0 ? require_pointer(where, rows, "rows") : Status();
}

Status write_supports(const char* name, const void* from_problem, const seesaw_options* from,
                      seesaw_kernel_support* rows, uint64_t row_bytes, uint64_t capacity,
                      uint64_t* count) {
  const Operation* operation = nullptr;
  SEESAW_RETURN_IF_ERROR(find_operation(name, &operation));
  SEESAW_RETURN_IF_ERROR(
      check_list(operation->name, rows, row_bytes, sizeof(*rows), capacity, count));
  ProblemBytes problem;
  Options options;
  SEESAW_RETURN_IF_ERROR(read_problem(*operation, from_problem, &problem));
  SEESAW_RETURN_IF_ERROR(read_options(operation->name, from, &options));
  thread_local std::vector<std::string> reasons;  // until this thread's next call, as promised
  reasons.clear();
  for (const Kernel& kernel : operation->kernels) {
    reasons.push_back(supports(*operation, kernel, problem.data, options).reason);
  }
  *count = reasons.size();
  for (uint64_t i = 0; i < std::min<uint64_t>(capacity, *count); ++i) {
    const std::string& reason = reasons[i];
    write_row(seesaw_kernel_support{operation->kernels[i].name, reason.c_str(),
                                    reason.empty() ? 1 : 0, 0},
              i, row_bytes, rows);
  }
  return {};
}

Status create(const char* name, const void* from_problem, const seesaw_options* from,
              seesaw_plan** plan) {
  SEESAW_RETURN_IF_ERROR(require_pointer("plan_create", plan, "plan"));
  *plan = nullptr;
  const Operation* operation = nullptr;
  SEESAW_RETURN_IF_ERROR(find_operation(name, &operation));
  ProblemBytes problem;
  Options options;
  SEESAW_RETURN_IF_ERROR(read_problem(*operation, from_problem, &problem));
  SEESAW_RETURN_IF_ERROR(read_options(operation->name, from, &options));
  std::unique_ptr<seesaw_plan> made;
  SEESAW_RETURN_IF_ERROR(make_plan(*operation, problem.data, options, &made));
  count_plan(*made);
  *plan = made.release();
  return {};
}

Status write_details(const seesaw_plan* plan, seesaw_plan_details* to) {
  SEESAW_RETURN_IF_ERROR(require_pointer("plan_info", plan, "plan"));
  seesaw_plan_details details{};
  details.operation = plan->operation.name;
  details.kernel = plan->kernel.name;
  details.workspace_bytes = plan->planned->workspace_bytes;
  details.schedule_bytes = plan->planned->schedule_bytes;
  details.tuned = plan->tuned ? 1 : 0;
  details.tuning = plan->tuning.c_str();
  details.tuning_key = plan->tuning_key.c_str();
  details.numbers = plan->planned->numbers.data();
  details.num_numbers = plan->planned->numbers.size();
  details.number_bytes = sizeof(seesaw_number);
  return write_sized("plan_info", "details", details, to);
}

Status fill_problem(const char* name, const void* from_args, void* to_problem) {
  const Operation* operation = nullptr;
  SEESAW_RETURN_IF_ERROR(find_operation(name, &operation));
  ArgsBytes args;
  ProblemBytes problem;
  SEESAW_RETURN_IF_ERROR(
      read_sized(operation->name, "args", from_args, operation->args_bytes, args.data));
  SEESAW_RETURN_IF_ERROR(
      read_sized(operation->name, "problem", to_problem, operation->problem_bytes, problem.data));
  uint64_t size = 0;
  std::memcpy(&size, to_problem, sizeof(size));
  SEESAW_RETURN_IF_ERROR(problem_of(*operation, args.data, problem.data));
  std::memcpy(problem.data, &size, sizeof(size));
  std::memcpy(to_problem, problem.data, std::min<uint64_t>(size, operation->problem_bytes));
  return {};
}

Status prepare(const seesaw_plan* plan, const void* from_args, const seesaw_call* from_call) {
  SEESAW_RETURN_IF_ERROR(require_pointer("plan_prepare", plan, "plan"));
  ArgsBytes args;
  Call call;
  SEESAW_RETURN_IF_ERROR(read_call(*plan, from_args, from_call, true, &args, &call));
  if (plan->kernel.prepare == nullptr) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(plan->kernel.prepare(*plan->planned, args.data, call));
  count_prepare(*plan, call.schedule);
  return {};
}

Status run(const seesaw_plan* plan, const void* from_args, const seesaw_call* from_call) {
  SEESAW_RETURN_IF_ERROR(require_pointer("plan_run", plan, "plan"));
  ArgsBytes args;
  Call call;
  SEESAW_RETURN_IF_ERROR(read_call(*plan, from_args, from_call, false, &args, &call));
  SEESAW_RETURN_IF_ERROR(plan->kernel.run(*plan->planned, args.data, call));
  count_run(*plan, args.data);
  return {};
}

// Where pieces are written to.
struct PieceRows {
  seesaw_piece* rows;
  uint64_t row_bytes;
  uint64_t capacity;
  uint64_t count;
};

void write_piece(void* context, const seesaw_piece& piece) {
  PieceRows& to = *static_cast<PieceRows*>(context);
  if (to.count < to.capacity) {
    write_row(piece, to.count, to.row_bytes, to.rows);
  }
  ++to.count;
}

Status list_pieces(const seesaw_plan* plan, const void* schedule, uint64_t schedule_bytes,
                   PieceRows rows, uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require_pointer("plan_pieces", plan, "plan"));
  const char* where = plan->operation.name;
  SEESAW_RETURN_IF_ERROR(
      check_list(where, rows.rows, rows.row_bytes, sizeof(seesaw_piece), rows.capacity, count));
  if (plan->kernel.pieces == nullptr) {
    return not_supported(four_part_message(where, fmt::format("a plan of {}", plan->kernel.name),
                                           "kernels that have a schedule",
                                           "Ask seesaw_plan_info: schedule_bytes is 0."));
  }
  SEESAW_RETURN_IF_ERROR(
      check_buffer(where, "schedule", schedule, schedule_bytes, plan->planned->schedule_bytes));
  SEESAW_RETURN_IF_ERROR(plan->kernel.pieces(*plan->planned, schedule, {write_piece, &rows}));
  *count = rows.count;
  return {};
}

std::string traced_kernels(const Operation& operation) {
  std::string names;
  for (const Kernel& kernel : operation.kernels) {
    if (kernel.trace != nullptr) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", kernel.name);
    }
  }
  return names.empty() ? "no kernel of this operation" : names;
}

Status trace(const seesaw_plan* plan, const void* from_args, const seesaw_call* from_call,
             seesaw_trace_span* spans, uint64_t row_bytes, uint64_t capacity, uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require_pointer("plan_trace", plan, "plan"));
  const char* where = plan->operation.name;
  SEESAW_RETURN_IF_ERROR(check_list(where, spans, row_bytes, sizeof(*spans), capacity, count));
  ArgsBytes args;
  Call call;
  SEESAW_RETURN_IF_ERROR(read_call(*plan, from_args, from_call, false, &args, &call));
  if (plan->kernel.trace == nullptr) {
    return not_supported(four_part_message(
        where, fmt::format("a trace of {}", plan->kernel.name),
        fmt::format("kernels with a traced variant ({})", traced_kernels(plan->operation)),
        "Insist on one of them, or use seesaw_plan_run."));
  }
  Trace found;
  SEESAW_RETURN_IF_ERROR(plan->kernel.trace(*plan->planned, args.data, call, &found));
  for (uint64_t i = 0; i < std::min<uint64_t>(capacity, found.spans.size()); ++i) {
    write_row(found.spans[i], i, row_bytes, spans);
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

seesaw_status seesaw_supports(const char* operation, const void* problem,
                              const seesaw_options* options, seesaw_kernel_support* rows,
                              uint64_t row_bytes, uint64_t capacity, uint64_t* count) {
  return at_boundary("supports", [&] {
    return seesaw::engine::write_supports(operation, problem, options, rows, row_bytes, capacity,
                                          count);
  });
}

seesaw_status seesaw_plan_create(const char* operation, const void* problem,
                                 const seesaw_options* options, seesaw_plan** plan) {
  const seesaw::engine::NvtxRange range("plan_create", operation);
  const seesaw::engine::CountedCall call(StatsFunction::kPlan);
  const seesaw_status status = at_boundary(
      "plan_create", [&] { return seesaw::engine::create(operation, problem, options, plan); });
  return call.finish(status == SEESAW_OK ? &(*plan)->kernel : nullptr, status);
}

void seesaw_plan_destroy(seesaw_plan* plan) {
  if (plan != nullptr) {
    seesaw::engine::count_plan_destroyed(*plan);
    delete plan;
  }
}

seesaw_status seesaw_plan_info(const seesaw_plan* plan, seesaw_plan_details* details) {
  return at_boundary("plan_info", [&] { return seesaw::engine::write_details(plan, details); });
}

seesaw_status seesaw_problem_of(const char* operation, const void* args, void* problem) {
  return at_boundary("problem_of",
                     [&] { return seesaw::engine::fill_problem(operation, args, problem); });
}

seesaw_status seesaw_plan_prepare(const seesaw_plan* plan, const void* args,
                                  const seesaw_call* call) {
  return counted("plan_prepare", StatsFunction::kPrepare, plan,
                 [&] { return seesaw::engine::prepare(plan, args, call); });
}

seesaw_status seesaw_plan_run(const seesaw_plan* plan, const void* args, const seesaw_call* call) {
  return counted("plan_run", StatsFunction::kRun, plan,
                 [&] { return seesaw::engine::run(plan, args, call); });
}

seesaw_status seesaw_plan_pieces(const seesaw_plan* plan, const void* schedule,
                                 uint64_t schedule_bytes, seesaw_piece* pieces, uint64_t row_bytes,
                                 uint64_t capacity, uint64_t* count) {
  return at_boundary("plan_pieces", [&] {
    return seesaw::engine::list_pieces(plan, schedule, schedule_bytes,
                                       {pieces, row_bytes, capacity, 0}, count);
  });
}

seesaw_status seesaw_plan_trace(const seesaw_plan* plan, const void* args, const seesaw_call* call,
                                seesaw_trace_span* spans, uint64_t row_bytes, uint64_t capacity,
                                uint64_t* count) {
  return at_boundary("plan_trace", [&] {
    return seesaw::engine::trace(plan, args, call, spans, row_bytes, capacity, count);
  });
}

}  // extern "C"
