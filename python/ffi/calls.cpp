// What a call needs, for every operation: keys of plans, prepare, run. No JSON is made here; what
// Python asks apart from calls is in queries.cpp. A tensor that is not given is None; a list of
// tensors is its length, then its tensors.
#include <tvm/ffi/tvm_ffi.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "export.hpp"
#include "plans.hpp"
#include "scratch.hpp"
#include "tables.hpp"

namespace seesaw::python {
namespace {

constexpr size_t kMostArgsBytes = 4096;

// An operation's arguments struct, read from Python.
struct Arguments {
  alignas(8) std::byte data[kMostArgsBytes];
  std::vector<std::vector<seesaw_tensor>> lists;  // what its list arguments point to
  seesaw_device device{SEESAW_CPU, 0};            // of the first tensor
  bool have_device = false;

  explicit Arguments(const Operation& operation) {
    std::memset(data, 0, operation.args_bytes);
    const uint64_t size = operation.args_bytes;
    std::memcpy(data, &size, sizeof(size));
  }
};

const Operation& read_operation(ArgumentReader& reader) {
  const auto& operations = tables().operations;
  const auto index = static_cast<size_t>(reader.integer("operation"));
  if (index >= operations.size()) {
    throw Error(SEESAW_INVALID_ARGUMENT,
                "seesaw_ffi: operation = " + std::to_string(index) + ", allowed: less than " +
                    std::to_string(operations.size()) + ". Install the package anew.");
  }
  reader.set_where(operations[index].name.c_str());
  return operations[index];
}

// A tensor of the rank that the table has for it. A cache may lack the dimension of its KV heads,
// which is 1 in MLA, or have it where the table does not.
seesaw_tensor read_tensor(ArgumentReader& reader, const Operation& operation, const Arg& arg) {
  seesaw_tensor tensor = reader.tensor(arg.name.c_str(), arg.elements);
  if (arg.format != nullptr && tensor.shape[0] == 1) {
    tensor.stride[0] = 0;  // of one page says nothing: DLPack's producers give what they like
  }
  if (tensor.rank == arg.rank || tensor.rank == arg.other_rank) {
    return tensor;
  }
  if (arg.no_heads >= 0 && tensor.rank == arg.rank + 1 && tensor.shape[arg.no_heads] == 1) {
    for (int32_t i = arg.no_heads; i < arg.rank; ++i) {
      tensor.shape[i] = tensor.shape[i + 1];
      tensor.stride[i] = tensor.stride[i + 1];
    }
    --tensor.rank;
    return tensor;
  }
  if (arg.heads >= 0 && tensor.rank == arg.rank - 1) {
    for (int32_t i = tensor.rank; i > arg.heads; --i) {
      tensor.shape[i] = tensor.shape[i - 1];
      tensor.stride[i] = tensor.stride[i - 1];
    }
    tensor.shape[arg.heads] = 1;
    tensor.stride[arg.heads] = tensor.shape[arg.heads + 1];
    ++tensor.rank;
    return tensor;
  }
  throw Error(SEESAW_INVALID_ARGUMENT, operation.name + ": " + arg.name + " has rank " +
                                           std::to_string(tensor.rank) + ", allowed: " + arg.shape +
                                           ". Reshape the array.");
}

// Which tensors a function takes, in the order of the operation's table: all of them, as many as
// there are yet (the others None), or those that prepare reads.
enum class Take : uint8_t { kAll, kSome, kPrepares };

void put(const Arg& arg, const seesaw_tensor& tensor, Arguments* to) {
  if (!to->have_device) {
    to->device = tensor.device;
    to->have_device = true;
  }
  std::memcpy(to->data + arg.offset, &tensor, sizeof(tensor));
}

void read_tensors(ArgumentReader& reader, const Operation& operation, Take take, Arguments* to) {
  for (const Arg& arg : operation.args) {
    if (take == Take::kPrepares && !arg.prepares) {
      continue;
    }
    if (arg.count != nullptr) {
      std::vector<seesaw_tensor> list(static_cast<size_t>(reader.integer(arg.name.c_str())));
      for (seesaw_tensor& tensor : list) {
        tensor = read_tensor(reader, operation, arg);
      }
      if (!list.empty() && !to->have_device) {
        to->device = list.front().device;
        to->have_device = true;
      }
      const seesaw_tensor* first = list.data();
      std::memcpy(to->data + arg.offset, &first, sizeof(first));
      to->lists.push_back(std::move(list));
      continue;
    }
    if ((arg.optional || take == Take::kSome) && reader.next_is_none()) {
      reader.skip();
      continue;
    }
    put(arg, read_tensor(reader, operation, arg), to);
  }
}

// Tensors as XLA brings them: those that are read, then those that are written, in the order of the
// table. `given`: a bit for each row of the table. `aliased`: so many written ones are there twice,
// among the inputs, too, which is how XLA says "in place".
void read_tensors_of_xla(ArgumentReader& reader, const Operation& operation, uint64_t given,
                         int64_t aliased, Arguments* to) {
  for (const bool written : {false, true}) {
    for (int64_t i = 0; written && i < aliased; ++i) {
      reader.skip();
    }
    for (size_t i = 0; i < operation.args.size(); ++i) {
      const Arg& arg = operation.args[i];
      if (arg.written == written && (given >> i & 1) != 0) {
        put(arg, read_tensor(reader, operation, arg), to);
      }
    }
  }
}

// Those that are left out at the end of a call are 0.
void read_scalars(ArgumentReader& reader, const Operation& operation, Arguments* to) {
  for (const Field& field : operation.scalars) {
    if (reader.at_end()) {
      return;
    }
    if (field.kind == Kind::kFloat32) {
      const auto value = static_cast<float>(reader.number(field.name.c_str()));
      std::memcpy(to->data + field.offset, &value, sizeof(value));
    } else if (field.kind == Kind::kInt64) {
      const int64_t value = reader.integer(field.name.c_str());
      std::memcpy(to->data + field.offset, &value, sizeof(value));
    } else {
      const auto value = static_cast<int32_t>(reader.integer(field.name.c_str()));
      std::memcpy(to->data + field.offset, &value, sizeof(value));
    }
  }
}

// Options as Python passes them, and what owns their texts.
struct OwnedOptions {
  seesaw_options options{};
  std::array<std::string, 8> texts;
};

// Every field of the options but the device, in the order of the table.
void read_options(ArgumentReader& reader, OwnedOptions* to) {
  auto* bytes = reinterpret_cast<std::byte*>(&to->options);
  size_t texts = 0;
  for (const Field& field : tables().options) {
    const char* name = field.name.c_str();
    if (field.kind == Kind::kText) {
      std::string& text = to->texts.at(texts++);
      text = reader.optional_text(name);
      const char* pointer = text.empty() ? nullptr : text.c_str();
      std::memcpy(bytes + field.offset, &pointer, sizeof(pointer));
    } else if (field.kind == Kind::kInt32) {
      const auto value = static_cast<int32_t>(reader.integer(name));
      std::memcpy(bytes + field.offset, &value, sizeof(value));
    }
  }
}

void read_problem(ArgumentReader& reader, Request* to) {
  for (const Field& field : to->operation->problem) {
    to->set(field, reader.integer(field.name.c_str()));
  }
}

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

// run(key, stream, uint16 is bfloat16, schedule, workspace, tensors..., scalars...) -> int
// A schedule or a workspace that is None lasts for the call. With `derive`, the key lacks what the
// tensors tell.
int run_with(ArgumentReader& reader, bool derive, TVMFFIAny* result) {
  const std::string_view key = reader.bytes("key");
  const Operation& operation = operation_of(key);
  reader.set_where(operation.name.c_str());
  const int64_t stream = reader.integer("stream");
  reader.read_uint16_as_bfloat16(reader.integer("uint16 is bfloat16") != 0);
  const Buffer schedule = reader.buffer("schedule");
  const Buffer workspace = reader.buffer("workspace");
  Arguments args(operation);
  read_tensors(reader, operation, Take::kAll, &args);
  read_scalars(reader, operation, &args);
  std::shared_ptr<const Planned> planned;
  if (derive) {
    Request request(key);
    complete(args, &request);
    planned = plan_of(request.key());
  } else {
    planned = plan_of(key);
  }
  const seesaw_plan_details& details = planned->details;
  const bool prepares = !schedule.given && details.schedule_bytes > 0;
  const uint64_t own_schedule = prepares ? align(details.schedule_bytes) : 0;
  const uint64_t own_workspace = workspace.given ? 0 : details.workspace_bytes;
  const Scratch scratch(own_schedule + own_workspace, args.device);
  if (!scratch.made()) {
    return return_integer(kBuffersWanted, result);
  }
  seesaw_call call;
  call.schedule = prepares ? scratch.data() : schedule.data;
  call.schedule_bytes = prepares ? own_schedule : schedule.size_bytes;
  call.workspace = own_workspace > 0 ? scratch.data() + own_schedule : workspace.data;
  call.workspace_bytes = own_workspace > 0 ? own_workspace : workspace.size_bytes;
  call.stream = stream_of(stream, args.device);
  if (prepares) {
    check(seesaw_plan_prepare(planned->plan.get(), args.data, &call));
  }
  check(seesaw_plan_run(planned->plan.get(), args.data, &call));
  return return_integer(kDone, result);
}

int run(ArgumentReader& reader, TVMFFIAny* result) { return run_with(reader, false, result); }

int run_tensors(ArgumentReader& reader, TVMFFIAny* result) {
  return run_with(reader, true, result);
}

// run_attributes(operation, given, aliased, tensors..., workspace, scalars..., fields of the
// problem..., options...): the same for those who can pass nothing but arrays and plain numbers, as
// XLA's compiled code. Fields that tensors tell may be 0; the workspace has both_bytes.
int run_attributes(ArgumentReader& reader) {
  const Operation& operation = read_operation(reader);
  const auto given = static_cast<uint64_t>(reader.integer("given"));
  const int64_t aliased = reader.integer("aliased");
  Arguments args(operation);
  read_tensors_of_xla(reader, operation, given, aliased, &args);
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

// prepare(key, stream, schedule, tensors that prepare reads...)
int prepare(ArgumentReader& reader) {
  const auto planned = plan_of(reader.bytes("key"));
  const Operation& operation = *planned->operation;
  reader.set_where(operation.name.c_str());
  const int64_t stream = reader.integer("stream");
  const Buffer schedule = reader.buffer("schedule");
  Arguments args(operation);
  read_tensors(reader, operation, Take::kPrepares, &args);
  seesaw_call call;
  call.schedule = schedule.data;
  call.schedule_bytes = schedule.size_bytes;
  call.stream = stream_of(stream, args.device);
  check(seesaw_plan_prepare(planned->plan.get(), args.data, &call));
  return 0;
}

}  // namespace
}  // namespace seesaw::python

SEESAW_EXPORT_ANSWER(run)
SEESAW_EXPORT_ANSWER(run_tensors)
SEESAW_EXPORT_CALL(run_attributes)
SEESAW_EXPORT_CALL(prepare)
SEESAW_EXPORT_ANSWER(key_of_problem)
SEESAW_EXPORT_ANSWER(key_of_tensors)
SEESAW_EXPORT_ANSWER(schedule_bytes)
SEESAW_EXPORT_ANSWER(workspace_bytes)
SEESAW_EXPORT_ANSWER(both_bytes)
