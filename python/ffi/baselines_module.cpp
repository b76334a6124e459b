// The functions behind seesaw.baselines, a module of its own: seesaw_ffi must load without oneDNN
// and cuBLAS. Functions as in module.cpp.
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "baselines_plans.hpp"
#include "export.hpp"
#include "json.hpp"

namespace seesaw::python {
namespace {

// Arguments of `run` around the weights: x, out, mask, positions, cache, workspace; stream,
// past_tokens and the problem.
constexpr size_t kArgumentsBesideWeights = 6 + 2 + BaselineFields::kCount;

// [N, S] and [B, N, S] become [1, 1, N, S] and [B, 1, N, S]; others are left to be refused.
void widen_mask(seesaw_tensor& mask) {
  for (; mask.rank == 2 || mask.rank == 3; ++mask.rank) {
    const int first = mask.rank - 2;  // index of the new dimension, of size 1
    for (int i = mask.rank; i > first; --i) {
      mask.shape[i] = mask.shape[i - 1];
      mask.stride[i] = mask.stride[i - 1];
    }
    mask.shape[first] = 1;
    mask.stride[first] = 0;
  }
}

// run(x, out, mask, positions, cache, workspace, weights..., stream, past_tokens, problem...)
int run(ArgumentReader& reader) {
  BaselineTensors call;
  call.x = reader.tensor("x");
  call.out = reader.tensor("out");
  call.mask = reader.optional_mask("mask", SEESAW_BASELINE_UINT8);
  widen_mask(call.mask);
  call.positions = reader.optional_tensor("positions");
  call.cache = reader.optional_tensor("cache");
  const Buffer workspace = reader.buffer("workspace");
  call.workspace = workspace.data;
  call.workspace_bytes = workspace.size_bytes;
  for (size_t i = kArgumentsBesideWeights; i < reader.count(); ++i) {
    call.weights.push_back(reader.tensor("a weight"));
  }
  const int64_t stream = reader.integer("stream");
  call.past_tokens = reader.integer("past_tokens");
  const auto plan = plan_of(BaselineFields::read(reader));
  call.stream = stream_of(stream, call.x.device);
  plan->run(call);
  return 0;
}

// plan_info(problem...) -> JSON
int plan_info(ArgumentReader& reader, TVMFFIAny* result) {
  const auto plan = plan_of(BaselineFields::read(reader));
  const seesaw_baselines_plan_info& info = plan->info();
  // An array of so many bytes holds the workspace, wherever the array begins.
  const uint64_t elements = info.workspace_bytes == 0 ? 0 : info.workspace_bytes + 255;
  JsonWriter json;
  json.begin_object();
  json.key("backend").value(std::string_view(info.backend));
  json.key("workspace_elements").value(elements);
  json.key("cache_width").value(info.cache_width);
  json.key("num_products").value(info.num_products);
  json.key("converted_products").value(info.converted_products);
  json.end_object();
  return return_json(json, result);
}

// backend_support(problem...) -> JSON
int backend_support(ArgumentReader& reader, TVMFFIAny* result) {
  JsonWriter json;
  json.begin_array();
  for (const KernelSupport& answer :
       seesaw::supports(descriptor_of(BaselineFields::read(reader)))) {
    json.begin_object();
    json.key("kernel").value(answer.kernel);
    json.key("supported").boolean(answer.supported);
    json.key("reason").value(answer.reason);
    json.end_object();
  }
  json.end_array();
  return return_json(json, result);
}

// parameters(problem...) -> JSON: [[name, [shape]], ...] in the order of a run's weights
int parameters(ArgumentReader& reader, TVMFFIAny* result) {
  JsonWriter json;
  json.begin_array();
  for (const seesaw_baseline_parameter& row :
       seesaw::parameters(descriptor_of(BaselineFields::read(reader)))) {
    json.begin_array().value(std::string_view(row.name)).begin_array();
    for (int32_t i = 0; i < row.rank; ++i) {
      json.value(row.shape[i]);
    }
    json.end_array().end_array();
  }
  json.end_array();
  return return_json(json, result);
}

// cost(past_tokens, problem...) -> JSON
int cost(ArgumentReader& reader, TVMFFIAny* result) {
  const int64_t past_tokens = reader.integer("past_tokens");
  const seesaw_baseline_cost cost =
      seesaw::cost(descriptor_of(BaselineFields::read(reader)), past_tokens);
  JsonWriter json;
  json.begin_object();
  // Counts of operations and bytes are whole numbers, in doubles for their range: beyond 2^63.
  json.key("projection_operations").whole(cost.projection_operations);
  json.key("attention_operations").whole(cost.attention_operations);
  json.key("projection_bytes").whole(cost.projection_bytes);
  json.key("attention_bytes").whole(cost.attention_bytes);
  json.key("other_bytes").whole(cost.other_bytes);
  json.key("parameter_count").value(cost.parameter_count);
  json.key("weight_bytes").value(cost.weight_bytes);
  json.key("cache_bytes_per_token").value(cost.cache_bytes_per_token);
  json.key("score_bytes").value(cost.score_bytes);
  json.key("intermediate_bytes").value(cost.intermediate_bytes);
  json.end_object();
  return return_json(json, result);
}

constexpr const char* kWhere = "baselines";

// A function that answers in JSON.
template <typename Function>
int query(Function function, const TVMFFIAny* args, int32_t count, TVMFFIAny* result) {
  return guarded([&] {
    ArgumentReader reader(args, count, kWhere);
    return function(reader, result);
  });
}

}  // namespace
}  // namespace seesaw::python

namespace python = seesaw::python;

SEESAW_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny* args, int32_t count, TVMFFIAny*) {
  return python::guarded([&] {
    python::ArgumentReader reader(args, count, python::kWhere);
    return python::run(reader);
  });
}

SEESAW_EXPORT int __tvm_ffi_plan_info(void*, const TVMFFIAny* args, int32_t count,
                                      TVMFFIAny* result) {
  return python::query(python::plan_info, args, count, result);
}

SEESAW_EXPORT int __tvm_ffi_backend_support(void*, const TVMFFIAny* args, int32_t count,
                                            TVMFFIAny* result) {
  return python::query(python::backend_support, args, count, result);
}

SEESAW_EXPORT int __tvm_ffi_parameters(void*, const TVMFFIAny* args, int32_t count,
                                       TVMFFIAny* result) {
  return python::query(python::parameters, args, count, result);
}

SEESAW_EXPORT int __tvm_ffi_cost(void*, const TVMFFIAny* args, int32_t count, TVMFFIAny* result) {
  return python::query(python::cost, args, count, result);
}
