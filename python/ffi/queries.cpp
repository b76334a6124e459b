// What Python asks apart from calls, for every operation: each answer is one JSON string.
#include <omp.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstring>
#include <string>

#include "arguments.hpp"
#include "export.hpp"
#include "plans.hpp"
#include "tables.hpp"

namespace seesaw::python {
namespace {

// problem_of_key(key) -> JSON: what stands in a key
int problem_of_key(ArgumentReader& reader, TVMFFIAny* result) {
  const Request request(reader.bytes("key"));
  Json fields = Json::object();
  for (const Field& field : request.operation->problem) {
    fields[field.name] = request.get(field);
  }
  Json options = Json::object();
  const auto* bytes = reinterpret_cast<const std::byte*>(&request.options);
  for (const Field& field : tables().options) {
    if (field.kind == Kind::kText) {
      const char* text;
      std::memcpy(&text, bytes + field.offset, sizeof(text));
      options[field.name] = text == nullptr ? Json(nullptr) : Json(text);
    } else if (field.kind == Kind::kDevice) {
      seesaw_device device;
      std::memcpy(&device, bytes + field.offset, sizeof(device));
      options[field.name] = Json::array({device.type, device.index});
    } else {
      int32_t value;
      std::memcpy(&value, bytes + field.offset, sizeof(value));
      options[field.name] = value;
    }
  }
  return return_json(
      {{"operation", request.operation->name}, {"problem", fields}, {"options", options}}, result);
}

// plan_info(key) -> JSON
int plan_info(ArgumentReader& reader, TVMFFIAny* result) {
  const auto planned = plan_of(reader.bytes("key"));
  const seesaw_plan_details& details = planned->details;
  Json numbers = Json::object();
  const auto* row = reinterpret_cast<const std::byte*>(details.numbers);
  for (uint64_t i = 0; i < details.num_numbers; ++i, row += details.number_bytes) {
    const auto& number = *reinterpret_cast<const seesaw_number*>(row);
    numbers[number.name] = number.value;
  }
  return return_json({{"kernel", details.kernel},
                      {"workspace_bytes", details.workspace_bytes},
                      {"schedule_bytes", details.schedule_bytes},
                      {"tuning", details.tuning},
                      {"numbers", numbers}},
                     result);
}

// kernel_support(key) -> JSON
int kernel_support(ArgumentReader& reader, TVMFFIAny* result) {
  const Request request(reader.bytes("key"));
  return return_json(
      json_of(supports(request.operation->name.c_str(), request.problem, request.options)), result);
}

// schedule_pieces(key, schedule in host memory) -> JSON
int schedule_pieces(ArgumentReader& reader, TVMFFIAny* result) {
  const auto planned = plan_of(reader.bytes("key"));
  const Buffer schedule = reader.buffer("schedule");
  Json rows = Json::array();
  for (const seesaw_piece& piece :
       pieces_of(planned->plan.get(), schedule.data, schedule.size_bytes)) {
    rows.push_back({piece.worker, piece.sequence, piece.row_group, piece.tile_begin, piece.tile_end,
                    piece.partial});
  }
  return return_json(rows, result);
}

// stats() -> JSON; calls [function][status], nanoseconds [function]
int stats(TVMFFIAny* result) {
  Json rows = Json::array();
  for (const seesaw_stats& row : seesaw::stats()) {
    rows.push_back({{"operation", row.operation},
                    {"kernel", row.kernel},
                    {"lengths_known", row.lengths_known != 0},
                    {"calls", row.calls},
                    {"nanoseconds", row.nanoseconds},
                    {"sequences", row.sequences},
                    {"tensor_bytes", row.tensor_bytes},
                    {"kv_bytes_planned", row.kv_bytes_planned},
                    {"kv_tokens", row.kv_tokens},
                    {"kv_bytes", row.kv_bytes},
                    {"pieces", row.pieces},
                    {"split_sequences", row.split_sequences},
                    {"partials", row.partials},
                    {"plans", row.plans},
                    {"workspace_bytes", row.workspace_bytes}});
  }
  return return_json(rows, result);
}

// info() -> JSON
int info(TVMFFIAny* result) {
  Json devices = Json::array();
  for (const DeviceInfo& device : seesaw::devices()) {
    devices.push_back({{"device", device.device.type == SEESAW_CPU
                                      ? std::string("cpu")
                                      : "cuda:" + std::to_string(device.device.index)},
                       {"usable", device.usable},
                       {"name", device.name},
                       {"num_units", device.num_units},
                       {"memory_bytes", device.memory_bytes},
                       {"features", device.features},
                       {"reason", device.reason}});
  }
  Json kernels = Json::array();
  for (const Operation& operation : tables().operations) {
    for (const std::string& kernel : operation.kernels) {
      kernels.push_back(kernel);
    }
  }
  return return_json({{"max_threads", omp_get_max_threads()},
                      {"version", seesaw_version()},
                      {"devices", devices},
                      {"kernels", kernels}},
                     result);
}

// describe() -> JSON: seesaw_describe's text
int describe(TVMFFIAny* result) {
  const std::string text = seesaw::describe();
  const TVMFFIByteArray bytes{text.data(), text.size()};
  return TVMFFIStringFromByteArray(&bytes, result);
}

}  // namespace
}  // namespace seesaw::python

SEESAW_EXPORT_ANSWER(problem_of_key)
SEESAW_EXPORT_ANSWER(plan_info)
SEESAW_EXPORT_ANSWER(kernel_support)
SEESAW_EXPORT_ANSWER(schedule_pieces)
SEESAW_EXPORT_FACT(stats)
SEESAW_EXPORT_FACT(info)
SEESAW_EXPORT_FACT(describe)
