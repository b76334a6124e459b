// The functions that Python calls. Each exported symbol is a tvm-ffi packed function that reads
// plain arguments (arrays, numbers, one string) and returns nothing, an int or one JSON string: no
// object whose layout belongs to a version of tvm-ffi crosses this boundary.
#include <omp.h>
#include <tvm/ffi/tvm_ffi.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "export.hpp"
#include "json.hpp"
#include "plan_cache.hpp"

namespace seesaw::python {
namespace {

// run(q, kv_cache, block_table, seq_lens, out, lse, schedule, workspace, scale, stream, flags of
// this call, problem...): attention, after making the schedule if the call says so.
constexpr int64_t kMakeSchedule = 1;

int run(ArgumentReader& reader) {
  DenseDecodeTensors call;
  call.q = reader.tensor("q");
  call.kv_cache = reader.kv_cache();
  call.block_table = reader.tensor("block_table");
  call.seq_lens = reader.tensor("seq_lens");
  call.out = reader.tensor("out");
  call.lse = reader.optional_tensor("lse");
  const Buffer schedule = reader.buffer("schedule");
  const Buffer workspace = reader.buffer("workspace");
  call.schedule = schedule.data;
  call.schedule_bytes = schedule.size_bytes;
  call.workspace = workspace.data;
  call.workspace_bytes = workspace.size_bytes;
  call.scale = static_cast<float>(reader.number("scale"));
  const int64_t stream = reader.integer("stream");
  const int64_t call_flags = reader.integer("flags of the call");
  const auto plan = plan_of(reader.problem());
  call.stream = stream_of(stream, call.q.device);
  if ((call_flags & kMakeSchedule) != 0) {
    plan->schedule(call.seq_lens, call.schedule, call.schedule_bytes, call.stream);
  }
  plan->run(call);
  return 0;
}

// make_schedule(seq_lens, schedule, stream, problem...)
int make_schedule(ArgumentReader& reader) {
  const seesaw_tensor seq_lens = reader.tensor("seq_lens");
  const Buffer schedule = reader.buffer("schedule");
  const int64_t stream = reader.integer("stream");
  plan_of(reader.problem())
      ->schedule(seq_lens, schedule.data, schedule.size_bytes, stream_of(stream, seq_lens.device));
  return 0;
}

// plan_info(problem...) -> JSON
int plan_info(ArgumentReader& reader, TVMFFIAny* result) {
  const auto plan = plan_of(reader.problem());
  const seesaw_dense_decode_plan_info& info = plan->info();
  JsonWriter json;
  json.begin_object();
  json.key("kernel").value(std::string_view(info.kernel));
  json.key("workspace_bytes").value(info.workspace_bytes);
  json.key("schedule_bytes").value(info.schedule_bytes);
  json.key("num_workers").value(int64_t{info.num_workers});
  json.key("tile_tokens").value(int64_t{info.tile_tokens});
  json.key("tile_rows").value(int64_t{info.tile_rows});
  json.key("fixed_split_tiles").value(int64_t{info.fixed_split_tiles});
  json.end_object();
  return return_json(json, result);
}

// kernel_support(problem...) -> JSON
int kernel_support(ArgumentReader& reader, TVMFFIAny* result) {
  JsonWriter json;
  json.begin_array();
  for (const KernelSupport& answer : seesaw::supports(descriptor_of(reader.problem()))) {
    json.begin_object();
    json.key("kernel").value(answer.kernel);
    json.key("supported").boolean(answer.supported);
    json.key("reason").value(answer.reason);
    json.end_object();
  }
  json.end_array();
  return return_json(json, result);
}

// schedule_pieces(schedule in host memory, problem...) -> JSON
int schedule_pieces(ArgumentReader& reader, TVMFFIAny* result) {
  const Buffer schedule = reader.buffer("schedule");
  const auto plan = plan_of(reader.problem());
  JsonWriter json;
  json.begin_array();
  for (const seesaw_piece& piece : plan->pieces(schedule.data, schedule.size_bytes)) {
    json.begin_array();
    for (const int32_t number :
         {piece.worker, piece.sequence, piece.tile_begin, piece.tile_end, piece.partial}) {
      json.value(int64_t{number});
    }
    json.end_array();
  }
  json.end_array();
  return return_json(json, result);
}

// stats() -> JSON
int stats(TVMFFIAny* result) {
  JsonWriter json;
  json.begin_array();
  for (const seesaw_stats& row : seesaw::stats()) {
    json.begin_object();
    json.key("operation").value(std::string_view(row.operation));
    json.key("kernel").value(std::string_view(row.kernel));
    json.key("lengths_known").boolean(row.lengths_known != 0);
    json.key("calls").begin_array();
    for (const auto& statuses : row.calls) {
      json.begin_array();
      for (int status = SEESAW_OK; status <= SEESAW_INTERNAL_ERROR; ++status) {
        json.value(statuses[status]);
      }
      json.end_array();
    }
    json.end_array();
    json.key("nanoseconds").begin_array();
    for (const uint64_t nanoseconds : row.nanoseconds) {
      json.value(nanoseconds);
    }
    json.end_array();
    json.key("sequences").value(row.sequences);
    json.key("tensor_bytes").value(row.tensor_bytes);
    json.key("kv_bytes_planned").value(row.kv_bytes_planned);
    json.key("kv_tokens").value(row.kv_tokens);
    json.key("kv_bytes").value(row.kv_bytes);
    json.key("pieces").value(row.pieces);
    json.key("split_sequences").value(row.split_sequences);
    json.key("partials").value(row.partials);
    json.key("plans").value(row.plans);
    json.key("workspace_bytes").value(row.workspace_bytes);
    json.end_object();
  }
  json.end_array();
  return return_json(json, result);
}

// stats_prometheus() -> str
int stats_prometheus(TVMFFIAny* result) {
  const std::string text = seesaw::stats_prometheus();
  const TVMFFIByteArray bytes{text.data(), text.size()};
  return TVMFFIStringFromByteArray(&bytes, result);
}

// info() -> JSON
int info(TVMFFIAny* result) {
  JsonWriter json;
  json.begin_object();
  json.key("max_threads").value(int64_t{omp_get_max_threads()});
  json.key("version").value(std::string_view(seesaw_version()));
  json.key("devices").begin_array();
  for (const seesaw_device_info& device : devices()) {
    json.begin_object();
    json.key("device").value(
        device.device.type == SEESAW_CPU ? "cpu" : "cuda:" + std::to_string(device.device.index));
    json.key("usable").boolean(device.usable != 0);
    json.key("name").value(std::string_view(device.name));
    json.key("num_units").value(int64_t{device.num_units});
    json.key("memory_bytes").value(device.memory_bytes);
    json.key("features").value(std::string_view(device.features));
    json.key("reason").value(std::string_view(device.reason));
    json.end_object();
  }
  json.end_array();
  json.key("kernels").begin_array();
  for (const KernelSupport& answer : seesaw::supports(DenseDecodeDescriptor{})) {
    json.value(answer.kernel);
  }
  json.end_array();
  json.end_object();
  return return_json(json, result);
}

}  // namespace
}  // namespace seesaw::python

using seesaw::python::ArgumentReader;
using seesaw::python::guarded;

SEESAW_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny* args, int32_t count, TVMFFIAny*) {
  return guarded([&] {
    ArgumentReader reader(args, count);
    return seesaw::python::run(reader);
  });
}

SEESAW_EXPORT int __tvm_ffi_make_schedule(void*, const TVMFFIAny* args, int32_t count, TVMFFIAny*) {
  return guarded([&] {
    ArgumentReader reader(args, count);
    return seesaw::python::make_schedule(reader);
  });
}

SEESAW_EXPORT int __tvm_ffi_plan_info(void*, const TVMFFIAny* args, int32_t count,
                                      TVMFFIAny* result) {
  return guarded([&] {
    ArgumentReader reader(args, count);
    return seesaw::python::plan_info(reader, result);
  });
}

SEESAW_EXPORT int __tvm_ffi_kernel_support(void*, const TVMFFIAny* args, int32_t count,
                                           TVMFFIAny* result) {
  return guarded([&] {
    ArgumentReader reader(args, count);
    return seesaw::python::kernel_support(reader, result);
  });
}

SEESAW_EXPORT int __tvm_ffi_schedule_pieces(void*, const TVMFFIAny* args, int32_t count,
                                            TVMFFIAny* result) {
  return guarded([&] {
    ArgumentReader reader(args, count);
    return seesaw::python::schedule_pieces(reader, result);
  });
}

SEESAW_EXPORT int __tvm_ffi_kernel_index(void*, const TVMFFIAny* args, int32_t count,
                                         TVMFFIAny* result) {
  return guarded([&] {
    ArgumentReader reader(args, count);
    result->type_index = kTVMFFIInt;
    result->v_int64 = seesaw::python::kernel_index(reader.text("kernel"));
    return 0;
  });
}

SEESAW_EXPORT int __tvm_ffi_info(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  return guarded([&] { return seesaw::python::info(result); });
}

SEESAW_EXPORT int __tvm_ffi_stats(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  return guarded([&] { return seesaw::python::stats(result); });
}

SEESAW_EXPORT int __tvm_ffi_stats_prometheus(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  return guarded([&] { return seesaw::python::stats_prometheus(result); });
}
