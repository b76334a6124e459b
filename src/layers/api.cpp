// The C ABI of the layers: read, plan, rehearse, run.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/fork.hpp"
#include "base/math.hpp"
#include "baselines/cpu/thread_count.hpp"
#include "baselines/refusal.hpp"
#include "boundary/error.hpp"
#include "boundary/sized.hpp"
#include "layers/call.hpp"
#include "layers/checkpoint.hpp"
#include "layers/config.hpp"
#include "layers/forward.hpp"
#include "layers/operations.hpp"
#include "layers/parameters.hpp"
#include "layers/products.hpp"
#include "layers/refusal.hpp"

struct seesaw_mla_layer {
  seesaw::baselines::Problem problem;
  bool interleaved = true;
  seesaw::layers::Parameters parameters;
};

namespace seesaw::layers {
namespace {

using baselines::Arena;
using baselines::cpu::CpuOps;
using baselines::cpu::ThreadCount;

Status require(const void* pointer, const char* name) {
  return require_pointer(kWhere, pointer, name);
}

Status read_options(const seesaw_mla_layer_options* given, seesaw_mla_layer_options* options) {
  if (given == nullptr) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(read_sized(kWhere, "seesaw_mla_layer_options", given, options));
  if (options->device.type == SEESAW_CUDA) {
    return not_supported(four_part_message(
        kWhere, fmt::format("device cuda:{}", options->device.index), "the CPU",
        "Use seesaw.layers of the Python package, which runs on GPUs, or dense_decode and append "
        "between products of your own."));
  }
  if ((options->device.type != 0 && options->device.type != SEESAW_CPU) ||
      options->device.index != 0) {
    return bad(fmt::format("device type {}, index {}", options->device.type, options->device.index),
               "{SEESAW_CPU, 0}", "Leave the device at its default.");
  }
  if (options->dtype != 0 && options->dtype != SEESAW_FLOAT32 &&
      options->dtype != SEESAW_BFLOAT16 && options->dtype != SEESAW_FLOAT16) {
    return bad_type(fmt::format("dtype = {}", options->dtype),
                    "float32 (1), bfloat16 (2), float16 (3), 0 for the parameters'",
                    "Set the dtype of x and out.");
  }
  return {};
}

// The baselines' complete problem; what they refuse, refused in this library's name.
Status complete(const seesaw_baseline_problem& from, baselines::Problem* problem) {
  const Status status = baselines::read_problem(&from, problem);
  const std::string theirs = std::string(baselines::kWhere) + ": ";
  if (status.ok() || !status.message().starts_with(theirs)) {
    return status;
  }
  return {status.code(), fmt::format("{}: {}", kWhere, status.message().substr(theirs.size()))};
}

Status make(std::string_view config_json, std::span<const seesaw_named_tensor> tensors,
            const std::string& prefix, const seesaw_mla_layer_options& options,
            seesaw_mla_layer** layer) {
  Config config;
  SEESAW_RETURN_IF_ERROR(read_config(config_json, &config));
  config.layer.dtype = options.dtype;
  config.layer.num_threads = options.num_threads;
  if (options.dtype == 0) {
    SEESAW_RETURN_IF_ERROR(dtype_of(tensors, prefix, &config.layer.dtype));
  }
  auto made = std::make_unique<seesaw_mla_layer>();
  SEESAW_RETURN_IF_ERROR(complete(config.layer, &made->problem));
  made->interleaved = config.interleaved;
  SEESAW_RETURN_IF_ERROR(read_parameters(tensors, prefix, made->problem, &made->parameters));
  *layer = made.release();
  return {};
}

Status create(const char* config_json, const seesaw_named_tensor* tensors, uint64_t num_tensors,
              const seesaw_mla_layer_options* given, seesaw_mla_layer** layer) {
  SEESAW_RETURN_IF_ERROR(require(layer, "layer"));
  *layer = nullptr;
  SEESAW_RETURN_IF_ERROR(require(config_json, "config_json"));
  if (num_tensors > 0) {
    SEESAW_RETURN_IF_ERROR(require(tensors, "tensors"));
  }
  seesaw_mla_layer_options options;
  SEESAW_RETURN_IF_ERROR(read_options(given, &options));
  const std::string prefix = options.prefix == nullptr ? "" : options.prefix;
  return make(config_json, {tensors, num_tensors}, prefix, options, layer);
}

Status from_checkpoint(const char* folder, int64_t index, const seesaw_mla_layer_options* given,
                       seesaw_mla_layer** layer) {
  SEESAW_RETURN_IF_ERROR(require(layer, "layer"));
  *layer = nullptr;
  SEESAW_RETURN_IF_ERROR(require(folder, "folder"));
  seesaw_mla_layer_options options;
  SEESAW_RETURN_IF_ERROR(read_options(given, &options));
  if (index < 0) {
    return bad(fmt::format("index = {}", index), "0 or more", "Pass the number of a layer.");
  }
  const std::string prefix =
      options.prefix == nullptr ? fmt::format("model.layers.{}.self_attn.", index) : options.prefix;
  Checkpoint checkpoint;
  SEESAW_RETURN_IF_ERROR(read_checkpoint(folder, prefix, &checkpoint));
  return make(checkpoint.config, checkpoint.tensors, prefix, options, layer);
}

Status get_info(const seesaw_mla_layer* layer, seesaw_mla_layer_info* info) {
  SEESAW_RETURN_IF_ERROR(require(layer, "layer"));
  const baselines::Problem& p = layer->problem;
  const seesaw_mla_layer_info filled{.d_model = p.d_model,
                                     .num_heads = p.num_heads,
                                     .d_q_latent = p.d_q_latent,
                                     .d_latent = p.d_latent,
                                     .d_nope = p.d_nope,
                                     .d_rope = p.d_rope,
                                     .d_v = p.d_v,
                                     .scale = p.scale,
                                     .dtype = static_cast<int32_t>(p.dtype),
                                     .weight_bytes = layer->parameters.memory.size()};
  return write_sized(kWhere, "seesaw_mla_layer_info", filled, info);
}

Status cache_row(const seesaw_mla_layer* layer, int32_t kv_format, int32_t* dtype,
                 int64_t* columns) {
  SEESAW_RETURN_IF_ERROR(require(layer, "layer"));
  SEESAW_RETURN_IF_ERROR(require(dtype, "dtype"));
  SEESAW_RETURN_IF_ERROR(require(columns, "columns"));
  const baselines::Problem& p = layer->problem;
  const int32_t format = kv_format == 0 ? static_cast<int32_t>(p.dtype) : kv_format;
  if (format == SEESAW_FLOAT32 || format == SEESAW_BFLOAT16 || format == SEESAW_FLOAT16) {
    *dtype = format;
    *columns = p.cache_width();
    return {};
  }
  std::string fitting = "float32, bfloat16, float16";
  const nlohmann::json known = nlohmann::json::parse(describe());
  for (const nlohmann::json& row : known.at("formats")) {
    const bool fits = row.at("d_latent") == p.d_latent && row.at("d_rope") == p.d_rope;
    if (fits && row.at("id") == format) {
      *dtype = SEESAW_UINT8;
      *columns = row.at("row_bytes").get<int64_t>() + row.at("tail_bytes").get<int64_t>();
      return {};
    }
    fitting += fits ? ", " + row.at("name").get<std::string>() : "";
  }
  return bad(
      fmt::format("kv_format = {} for latents of {} + {} columns", kv_format, p.d_latent, p.d_rope),
      fitting, "Choose one of them (enum seesaw_format).");
}

Status run(const seesaw_mla_layer* layer, const seesaw_mla_layer_args* given) {
  SEESAW_RETURN_IF_ERROR(require(layer, "layer"));
  seesaw_mla_layer_args args;
  SEESAW_RETURN_IF_ERROR(read_sized(kWhere, "seesaw_mla_layer_args", given, &args));
  LayerCall call;
  SEESAW_RETURN_IF_ERROR(read_call(args, layer->problem, layer->interleaved, &call));
  const ThreadCount threads(threads_here(layer->problem.num_threads));
  Operations operations;
  SEESAW_RETURN_IF_ERROR(Operations::plan(call, &operations));

  CallProducts products;
  Arena measured;
  CpuOps rehearsal(measured, products, baselines::cpu::Pass::kRehearsal);
  SEESAW_RETURN_IF_ERROR(
      forward(rehearsal, Pass::kRehearsal, call, operations, layer->parameters.views));
  const uint64_t scratch = round_up(products.scratch_bytes() + 1, Arena::kAlignment);
  const AlignedBuffer memory(scratch + measured.peak_bytes());
  products.start(memory.data());
  Arena arena(static_cast<char*>(memory.data()) + scratch);
  CpuOps ops(arena, products, baselines::cpu::Pass::kRun);
  return forward(ops, Pass::kRun, call, operations, layer->parameters.views);
}

}  // namespace
}  // namespace seesaw::layers

using seesaw::at_boundary;
using seesaw::layers::kWhere;

extern "C" {

const char* seesaw_layers_last_error(void) { return seesaw::last_error_message(); }

seesaw_status seesaw_layers_mla_create(const char* config_json, const seesaw_named_tensor* tensors,
                                       uint64_t num_tensors,
                                       const seesaw_mla_layer_options* options,
                                       seesaw_mla_layer** layer) {
  return at_boundary(kWhere, [&] {
    return seesaw::layers::create(config_json, tensors, num_tensors, options, layer);
  });
}

seesaw_status seesaw_layers_mla_from_checkpoint(const char* folder, int64_t index,
                                                const seesaw_mla_layer_options* options,
                                                seesaw_mla_layer** layer) {
  return at_boundary(
      kWhere, [&] { return seesaw::layers::from_checkpoint(folder, index, options, layer); });
}

void seesaw_layers_mla_destroy(seesaw_mla_layer* layer) { delete layer; }

seesaw_status seesaw_layers_mla_get_info(const seesaw_mla_layer* layer,
                                         seesaw_mla_layer_info* info) {
  return at_boundary(kWhere, [&] { return seesaw::layers::get_info(layer, info); });
}

seesaw_status seesaw_layers_mla_cache_row(const seesaw_mla_layer* layer, int32_t kv_format,
                                          int32_t* dtype, int64_t* columns) {
  return at_boundary(kWhere,
                     [&] { return seesaw::layers::cache_row(layer, kv_format, dtype, columns); });
}

seesaw_status seesaw_layers_mla_forward(const seesaw_mla_layer* layer,
                                        const seesaw_mla_layer_args* args) {
  return at_boundary(kWhere, [&] { return seesaw::layers::run(layer, args); });
}

}  // extern "C"
