// The functions behind seesaw.baselines, a module of its own: seesaw_ffi must load without oneDNN
// and cuBLAS. Functions as in module.cpp.
#include <utility>

#include "arguments.hpp"
#include "baselines_plans.hpp"
#include "export.hpp"

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
  call.positions = reader.optional_tensor("positions", Elements::kInt32);
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
  return return_json({{"backend", info.backend},
                      {"workspace_elements", elements},
                      {"cache_width", info.cache_width},
                      {"num_products", info.num_products},
                      {"converted_products", info.converted_products}},
                     result);
}

// backend_support(problem...) -> JSON
int backend_support(ArgumentReader& reader, TVMFFIAny* result) {
  return return_json(json_of(seesaw::supports(descriptor_of(BaselineFields::read(reader)))),
                     result);
}

// parameters(problem...) -> JSON: [[name, [shape]], ...] in the order of a run's weights
int parameters(ArgumentReader& reader, TVMFFIAny* result) {
  Json rows = Json::array();
  for (const seesaw_baseline_parameter& row :
       seesaw::parameters(descriptor_of(BaselineFields::read(reader)))) {
    Json shape = Json::array();
    for (int32_t i = 0; i < row.rank; ++i) {
      shape.push_back(row.shape[i]);
    }
    rows.push_back(Json::array({row.name, std::move(shape)}));
  }
  return return_json(rows, result);
}

// cost(past_tokens, problem...) -> JSON. Counts of operations and bytes are whole numbers, as
// doubles for their range, and have all their digits as such: Python makes integers of them.
int cost(ArgumentReader& reader, TVMFFIAny* result) {
  const int64_t past_tokens = reader.integer("past_tokens");
  const seesaw_baseline_cost cost =
      seesaw::cost(descriptor_of(BaselineFields::read(reader)), past_tokens);
  return return_json({{"projection_operations", cost.projection_operations},
                      {"attention_operations", cost.attention_operations},
                      {"projection_bytes", cost.projection_bytes},
                      {"attention_bytes", cost.attention_bytes},
                      {"other_bytes", cost.other_bytes},
                      {"parameter_count", cost.parameter_count},
                      {"weight_bytes", cost.weight_bytes},
                      {"cache_bytes_per_token", cost.cache_bytes_per_token},
                      {"score_bytes", cost.score_bytes},
                      {"intermediate_bytes", cost.intermediate_bytes}},
                     result);
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
    reader.read_uint16_as_bfloat16(true);  // layers decide their dtypes in Python
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
