#include "engine/describe.hpp"

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/message.hpp"
#include "boundary/error.hpp"
#include "boundary/sized.hpp"
#include "core/cache_format.hpp"
#include "core/operation.hpp"
#include "engine/read.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::engine {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(FieldType type) {
  switch (type) {
    case FieldType::kInt64:
      return "int64";
    case FieldType::kInt32:
      return "int32";
    case FieldType::kFloat32:
      return "float32";
    case FieldType::kDType:
      return "dtype";
    case FieldType::kFormat:
      return "format";
    case FieldType::kChoice:
      return "choice";
    case FieldType::kText:
      return "text";
    case FieldType::kDevice:
      return "device";
  }
  return "";
}

Json json_of(const Field& field) {
  Json json = {{"name", field.name}, {"type", name_of(field.type)}, {"offset", field.offset}};
  if (field.type == FieldType::kInt64 || field.type == FieldType::kInt32) {
    json["least"] = field.least;
    json["most"] = field.most;
  }
  json["default"] = field.fallback;
  for (const Choice& choice : field.choices) {
    json["choices"][choice.name] = choice.value;
  }
  json["from"] = field.from;
  json["flag"] = field.flag;
  json["help"] = field.help;
  return json;
}

Json json_of(std::span<const Field> fields) {
  Json json = Json::array();
  for (const Field& field : fields) {
    json.push_back(json_of(field));
  }
  return json;
}

Json json_of(const Arg& arg) {
  return {{"name", arg.name},
          {"offset", arg.offset},
          {"shape", arg.shape},
          {"dtype", arg.dtype},
          {"use", arg.use == Use::kIn    ? "in"
                  : arg.use == Use::kOut ? "out"
                                         : "inout"},
          {"optional", arg.optional},
          {"prepares", arg.prepares},
          {"strided", arg.strided},
          {"packed", arg.packed},
          {"list", arg.list},
          {"other", {{"field", arg.other.field}, {"shape", arg.other.shape}}},
          {"lacks", arg.lacks},
          {"help", arg.help}};
}

Json json_of(const Limit& limit) {
  Json json = {{"field", limit.field}, {"values", Json::array()}};
  for (size_t i = 0; i < limit.values.size() && limit.values[i] != 0; ++i) {
    json["values"].push_back(limit.values[i]);
  }
  json["multiple_of"] = limit.multiple_of;
  json["most"] = limit.most;
  return json;
}

Json json_of(const Kernel& kernel) {
  Json json = {{"name", kernel.name},
               {"device", kernel.device == SEESAW_CPU ? "cpu" : "cuda"},
               {"hardware", kernel.hardware}};
  json["limits"] = Json::array();
  for (const Limit& limit : kernel.limits) {
    json["limits"].push_back(json_of(limit));
  }
  json["knobs"] = Json::array();
  for (const Knob& knob : kernel.knobs) {
    json["knobs"].push_back({{"name", knob.name},
                             {"least", knob.least},
                             {"most", knob.most},
                             {"step", knob.step},
                             {"help", knob.help}});
  }
  json["traced"] = kernel.trace != nullptr;
  return json;
}

Json json_of(const Operation& operation) {
  Json json = {{"name", operation.name},
               {"help", operation.help},
               {"problem_bytes", operation.problem_bytes},
               {"args_bytes", operation.args_bytes}};
  json["problem"] = json_of(operation.problem);
  json["args"] = Json::array();
  for (const Arg& arg : operation.args) {
    json["args"].push_back(json_of(arg));
  }
  json["scalars"] = json_of(operation.scalars);
  json["kernels"] = Json::array();
  for (const Kernel& kernel : operation.kernels) {
    json["kernels"].push_back(json_of(kernel));
  }
  return json;
}

Json json_of(const Segment& segment) {
  return {{"type", name_of(segment.type)},
          {"count", segment.count},
          {"offset", segment.offset},
          {"place", segment.place == Place::kRow ? "row" : "tail"}};
}

Json json_of(const CacheFormat& format) {
  return {{"name", format.name},
          {"id", format.id},
          {"help", format.help},
          {"d_latent", format.latent.count},
          {"d_rope", format.rotary.count},
          {"latent", json_of(format.latent)},
          {"rotary", json_of(format.rotary)},
          {"scales", json_of(format.scales)},
          {"scaled_columns", format.scaled_columns},
          {"scale_group", format.scale_group},
          {"tensor_scale", format.tensor_scale},
          {"row_bytes", format.row_bytes},
          {"tail_bytes", format.tail_bytes},
          {"page_alignment", format.page_alignment}};
}

std::string describe() {
  Json json = {{"version", SEESAW_VERSION_STRING}};
  for (const DType dtype : kAllDTypes) {
    json["dtypes"][seesaw::name_of(dtype)] = static_cast<int32_t>(dtype);
  }
  json["formats"] = Json::array();
  for (const CacheFormat& format : byte_formats()) {
    json["formats"].push_back(json_of(format));
  }
  json["devices"] = {{"cpu", SEESAW_CPU}, {"cuda", SEESAW_CUDA}};
  for (int status = SEESAW_OK; status <= SEESAW_INVALID_TYPE; ++status) {
    json["statuses"][seesaw_status_name(static_cast<seesaw_status>(status))] = status;
  }
  json["options_bytes"] = sizeof(seesaw_options);
  json["options"] = json_of(option_fields());
  json["operations"] = Json::array();
  for (const Operation* operation : operations()) {
    json["operations"].push_back(json_of(*operation));
  }
  return json.dump(1);
}

Status write_description(char* buffer, uint64_t size, uint64_t* needed) {
  SEESAW_RETURN_IF_ERROR(require_pointer("describe", needed, "needed"));
  const std::string& text = description();
  *needed = text.size() + 1;
  if (size == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(require_pointer("describe", buffer, "buffer"));
  if (size < *needed) {
    buffer[0] = '\0';
    return invalid_argument(four_part_message("describe", fmt::format("size = {}", size),
                                              fmt::format("at least {}", *needed),
                                              "Ask with size 0 first."));
  }
  std::memcpy(buffer, text.c_str(), *needed);
  return {};
}

}  // namespace

const std::string& description() {
  static const std::string text = describe();
  return text;
}

}  // namespace seesaw::engine

extern "C" seesaw_status seesaw_describe(char* buffer, uint64_t size, uint64_t* needed) {
  return seesaw::at_boundary(
      "describe", [&] { return seesaw::engine::write_description(buffer, size, needed); });
}
