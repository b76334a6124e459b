// What a call needs, for every operation: keys of plans, prepare, run. No JSON is made here; what
// Python asks apart from calls is in queries.cpp.
#include <tvm/ffi/tvm_ffi.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "arguments.hpp"
#include "export.hpp"
#include "operation_arguments.hpp"
#include "plans.hpp"
#include "scratch.hpp"
#include "tables.hpp"

namespace seesaw::python {
namespace {

// A cache of bytes does not say what they mean.
void require_format(const Operation& operation, const Arg& arg, const Arguments& args,
                    const Request& request) {
  seesaw_tensor tensor;
  std::memcpy(&tensor, args.data + arg.offset, sizeof(tensor));
  if (tensor.dtype == SEESAW_UINT8 && request.get(*arg.format) == 0) {
    throw Error(SEESAW_INVALID_TYPE, operation.name + ": " + arg.name +
                                         " has dtype uint8, a byte, without " + arg.format->name +
                                         ", allowed: the name of its format with it. Pass " +
                                         arg.format->name + "; seesaw.formats() has the names.");
  }
}

// Fills in what the tensors tell of the problem.
void complete(const Arguments& args, Request* request) {
  const Operation& operation = *request->operation;
  for (const Arg& arg : operation.args) {
    if (arg.format != nullptr && arg.count == nullptr) {
      require_format(operation, arg, args, *request);
    }
  }
  size_t lists = 0;
  for (const Arg& arg : operation.args) {
    if (arg.count != nullptr) {
      request->set(*arg.count, static_cast<int64_t>(args.lists[lists++].size()));
    }
  }
  check(seesaw_problem_of(operation.name.c_str(), args.data, request->problem));
  for (const Field& field : operation.problem) {
    if (field.is_maximum && request->get(field) == 0) {
      request->set(field, 1);  // an empty batch is fewer than any maximum
    }
  }
  if (request->options.device.type == 0) {
    request->options.device = args.device;
  }
}

// key_of_problem(operation, device type, index, fields of the problem..., options...) -> key
// A field that is 0 has its default, or waits for tensors to tell.
int key_of_problem(ArgumentReader& reader, TVMFFIAny* result) {
  const Operation& operation = read_operation(reader);
  OwnedOptions owned;
  owned.options.device.type = static_cast<int32_t>(reader.integer("device type"));
  owned.options.device.index = static_cast<int32_t>(reader.integer("device index"));
  Request request(operation, {});
  read_problem(reader, &request);
  read_options(reader, &owned);
  request.options = owned.options;
  return return_bytes(request.key(), result);
}

// key_of_tensors(key of what they do not tell, uint16 is bfloat16, tensors...) -> key
int key_of_tensors(ArgumentReader& reader, TVMFFIAny* result) {
  Request request(reader.bytes("key"));
  const Operation& operation = *request.operation;
  reader.set_where(operation.name.c_str());
  reader.read_uint16_as_bfloat16(reader.integer("uint16 is bfloat16") != 0);
  Arguments args(operation);
  read_tensors(reader, operation, Take::kSome, &args);
  complete(args, &request);
  return return_bytes(request.key(), result);
}

// schedule_bytes(key), workspace_bytes(key) -> int
int schedule_bytes(ArgumentReader& reader, TVMFFIAny* result) {
  const auto planned = plan_of(reader.bytes("key"));
  return return_integer(static_cast<int64_t>(planned->details.schedule_bytes), result);
}

int workspace_bytes(ArgumentReader& reader, TVMFFIAny* result) {
  const auto planned = plan_of(reader.bytes("key"));
  return return_integer(static_cast<int64_t>(planned->details.workspace_bytes), result);
}

uint64_t align(uint64_t bytes) {
  return (bytes + Scratch::kAlignment - 1) / Scratch::kAlignment * Scratch::kAlignment;
}

// both_bytes(key) -> int: of one buffer for the schedule and the workspace of a call
int both_bytes(ArgumentReader& reader, TVMFFIAny* result) {
  const auto planned = plan_of(reader.bytes("key"));
  const seesaw_plan_details& details = planned->details;
  return return_integer(
      static_cast<int64_t>(align(details.schedule_bytes) + details.workspace_bytes), result);
}

constexpr int64_t kDone = 0;
constexpr int64_t kBuffersWanted = 1;  // nothing ran: nobody here allocates on that device
constexpr int64_t kInt32Wanted = 2;    // nothing ran: tensors of int64 have to be of int32

// What a call runs with, besides its tensors.
struct CallBuffers {
  Buffer schedule;
  Buffer workspace;
  int64_t stream = kCurrentStream;
};

int run_planned(const Planned& planned, const Arguments& args, const CallBuffers& buffers,
                TVMFFIAny* result) {
  const seesaw_plan_details& details = planned.details;
  const bool prepares = !buffers.schedule.given && details.schedule_bytes > 0;
  const uint64_t own_schedule = prepares ? align(details.schedule_bytes) : 0;
  const uint64_t own_workspace = buffers.workspace.given ? 0 : details.workspace_bytes;
  const Scratch scratch(own_schedule + own_workspace, args.device);
  if (!scratch.made()) {
    return return_integer(kBuffersWanted, result);
  }
  seesaw_call call;
  call.schedule = prepares ? scratch.data() : buffers.schedule.data;
  call.schedule_bytes = prepares ? own_schedule : buffers.schedule.size_bytes;
  call.workspace = own_workspace > 0 ? scratch.data() + own_schedule : buffers.workspace.data;
  call.workspace_bytes = own_workspace > 0 ? own_workspace : buffers.workspace.size_bytes;
  call.stream = stream_of(buffers.stream, args.device);
  if (prepares) {
    check(seesaw_plan_prepare(planned.plan.get(), args.data, &call));
  }
  check(seesaw_plan_run(planned.plan.get(), args.data, &call));
  return return_integer(kDone, result);
}

// run(key, stream, uint16 is bfloat16, schedule, workspace, tensors..., scalars...) -> int
// A schedule or a workspace that is None lasts for the call. With `derive`, the key lacks what the
// tensors tell.
int run_with(ArgumentReader& reader, bool derive, TVMFFIAny* result) {
  const std::string_view key = reader.bytes("key");
  const Operation& operation = operation_of(key);
  reader.set_where(operation.name.c_str());
  CallBuffers buffers;
  buffers.stream = reader.integer("stream");
  reader.read_uint16_as_bfloat16(reader.integer("uint16 is bfloat16") != 0);
  buffers.schedule = reader.buffer("schedule");
  buffers.workspace = reader.buffer("workspace");
  Arguments args(operation);
  read_tensors(reader, operation, Take::kAll, &args);
  read_scalars(reader, operation, &args);
  if (reader.narrowing_wanted()) {
    return return_integer(kInt32Wanted, result);
  }
  if (derive) {
    Request request(key);
    complete(args, &request);
    return run_planned(*plan_of(request.key()), args, buffers, result);
  }
  return run_planned(*plan_of(key), args, buffers, result);
}

// What the calls of one schedule have in common, as bytes: where the schedule is, then the key. It
// is one argument in place of four, as tvm-ffi takes time for each.
struct Head {
  uint64_t schedule = 0;  // address
  uint64_t schedule_bytes = 0;
};

// head(key, schedule) -> bytes, good while the array of the schedule lives
int head(ArgumentReader& reader, TVMFFIAny* result) {
  const std::string_view key = reader.bytes("key");
  reader.set_where(operation_of(key).name.c_str());
  const Buffer schedule = reader.buffer("schedule");
  const Head head{reinterpret_cast<uint64_t>(schedule.data), schedule.size_bytes};
  std::string bytes(reinterpret_cast<const char*>(&head), sizeof(head));
  bytes += key;
  return return_bytes(bytes, result);
}

// run_scheduled(head, workspace, scalars..., tensors...) -> int: the same as run, on the current
// stream. Tensors that are left out at the end are None.
int run_scheduled(ArgumentReader& reader, TVMFFIAny* result) {
  std::string_view key = reader.bytes("head");
  Head head;
  std::memcpy(&head, key.data(), std::min(key.size(), sizeof(head)));
  key.remove_prefix(std::min(key.size(), sizeof(head)));
  const auto planned = plan_of(key);
  const Operation& operation = *planned->operation;
  reader.set_where(operation.name.c_str());
  CallBuffers buffers;
  buffers.schedule = {true, reinterpret_cast<void*>(head.schedule), head.schedule_bytes};
  buffers.workspace = reader.buffer("workspace");
  Arguments args(operation);
  read_scalars(reader, operation, &args);
  read_tensors(reader, operation, Take::kAll, &args);
  if (reader.narrowing_wanted()) {
    return return_integer(kInt32Wanted, result);
  }
  return run_planned(*planned, args, buffers, result);
}

int run(ArgumentReader& reader, TVMFFIAny* result) { return run_with(reader, false, result); }

int run_tensors(ArgumentReader& reader, TVMFFIAny* result) {
  return run_with(reader, true, result);
}

// run_attributes(operation, given, traced, aliased, tensors..., workspace, scalars..., fields of
// the problem..., options...): the same for those who can pass nothing but arrays and plain
// numbers, as XLA's compiled code. Fields that tensors tell may be 0; the workspace has both_bytes.
int run_attributes(ArgumentReader& reader) {
  const Operation& operation = read_operation(reader);
  TensorsOfXla there;
  there.given = static_cast<uint64_t>(reader.integer("given"));
  there.traced = static_cast<uint64_t>(reader.integer("traced"));
  there.aliased = reader.integer("aliased");
  Arguments args(operation);
  read_tensors_of_xla(reader, operation, there, &args);
  const Buffer workspace = reader.buffer("workspace");
  read_scalars(reader, operation, &args);
  Request request(operation, {});
  read_problem(reader, &request);
  OwnedOptions owned;
  read_options(reader, &owned);
  request.options = owned.options;
  complete(args, &request);
  const auto planned = plan_of(request.key());
  const uint64_t part = align(planned->details.schedule_bytes);
  seesaw_call call;
  call.schedule = workspace.data;
  call.schedule_bytes = std::min(part, workspace.size_bytes);
  call.workspace = static_cast<std::byte*>(workspace.data) + call.schedule_bytes;
  call.workspace_bytes = workspace.size_bytes - call.schedule_bytes;
  call.stream = stream_of(kCurrentStream, args.device);
  if (part > 0) {
    check(seesaw_plan_prepare(planned->plan.get(), args.data, &call));
  }
  check(seesaw_plan_run(planned->plan.get(), args.data, &call));
  return 0;
}

// prepare(key, stream, schedule, tensors that prepare reads...) -> int
int prepare(ArgumentReader& reader, TVMFFIAny* result) {
  const auto planned = plan_of(reader.bytes("key"));
  const Operation& operation = *planned->operation;
  reader.set_where(operation.name.c_str());
  const int64_t stream = reader.integer("stream");
  const Buffer schedule = reader.buffer("schedule");
  Arguments args(operation);
  read_tensors(reader, operation, Take::kPrepares, &args);
  if (reader.narrowing_wanted()) {
    return return_integer(kInt32Wanted, result);
  }
  seesaw_call call;
  call.schedule = schedule.data;
  call.schedule_bytes = schedule.size_bytes;
  call.stream = stream_of(stream, args.device);
  check(seesaw_plan_prepare(planned->plan.get(), args.data, &call));
  return return_integer(kDone, result);
}

}  // namespace
}  // namespace seesaw::python

SEESAW_EXPORT_ANSWER(run)
SEESAW_EXPORT_ANSWER(run_tensors)
SEESAW_EXPORT_ANSWER(head)
SEESAW_EXPORT_ANSWER(run_scheduled)
SEESAW_EXPORT_CALL(run_attributes)
SEESAW_EXPORT_ANSWER(prepare)
SEESAW_EXPORT_ANSWER(key_of_problem)
SEESAW_EXPORT_ANSWER(key_of_tensors)
SEESAW_EXPORT_ANSWER(schedule_bytes)
SEESAW_EXPORT_ANSWER(workspace_bytes)
SEESAW_EXPORT_ANSWER(both_bytes)
