#include "compare/shape.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "lab/pages.hpp"
#include "lab/work.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

constexpr int64_t kPageSize = 64;

seesaw_baseline_model model_of(System system) {
  switch (system) {
    case System::kTraditional:
      return SEESAW_BASELINE_TRADITIONAL_MLA;
    case System::kChunked:
      return SEESAW_BASELINE_CHUNKED_MLA;
    case System::kExpanded:
      return SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED;
    case System::kAbsorbed:
      return SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED;
    case System::kMha:
    case System::kDenseDecode:
      break;
  }
  return SEESAW_BASELINE_MHA;
}

bool is_deepseek(System system) {
  return system == System::kExpanded || system == System::kAbsorbed;
}

Prediction predict_decode(const Setting& setting, const Contender& contender, const Place& place) {
  const seesaw_dense_decode_problem p = decode_of(setting, contender, place).problem;
  const Work work = work_of(p, lengths_of(setting));
  Prediction prediction;
  prediction.operations = work.flops;
  prediction.attention_operations = work.flops;
  prediction.bytes = work.bytes;
  prediction.cache_bytes_per_token = static_cast<uint64_t>(lab::token_bytes(p.kv_format, p.d_qk));
  return prediction;
}

}  // namespace

const char* name_of(System system) {
  return system == System::kDenseDecode ? "dense_decode"
                                        : seesaw_baselines_model_name(model_of(system));
}

const char* title_of(System system) {
  switch (system) {
    case System::kMha:
      return "multi-head attention";
    case System::kTraditional:
      return "traditional MLA";
    case System::kChunked:
      return "chunked MLA";
    case System::kExpanded:
      return "DeepSeek MLA, expanded";
    case System::kAbsorbed:
      return "DeepSeek MLA, absorbed";
    case System::kDenseDecode:
      break;
  }
  return "dense_decode, attention only";
}

const char* name_of(Phase phase) { return phase == Phase::kPrefill ? "prefill" : "decode"; }

std::string Setting::text() const {
  return fmt::format("{} b {} len {} heads {}x{} {}{}", name_of(phase), batch, len, heads, head_dim,
                     short_name(dtype), causal ? " causal" : "");
}

std::string Contender::text() const {
  if (system == System::kMha) {
    return title_of(system);
  }
  const bool traditional = system == System::kTraditional || system == System::kChunked;
  return traditional ? fmt::format("{}, D' {}", title_of(system), latent)
                     : fmt::format("{}, L {}+{}", title_of(system), latent, rope);
}

BaselineDescriptor layer_of(const Setting& setting, const Contender& contender,
                            const Place& place) {
  BaselineDescriptor d;
  d.device = place.device;
  d.num_threads = place.threads;
  d.model = model_of(contender.system);
  d.dtype = setting.dtype;
  d.batch = setting.batch;
  d.tokens = setting.new_tokens();
  d.cache_capacity = setting.phase == Phase::kDecode ? setting.len : 0;
  d.d_model = setting.d_model();
  d.num_heads = setting.heads;
  d.flags = setting.causal ? uint32_t{SEESAW_BASELINE_CAUSAL} : 0;
  if (is_deepseek(contender.system)) {
    d.d_latent = contender.latent;
    d.d_nope = setting.head_dim;
    d.d_rope = contender.rope;
    d.d_v = setting.head_dim;
  } else {
    d.head_dim = setting.head_dim;
    d.d_latent = contender.latent;
    d.chunk_size = setting.chunk_size;
    d.flags |= setting.bias ? uint32_t{SEESAW_BASELINE_BIAS} : 0;
  }
  return d;
}

std::vector<int32_t> lengths_of(const Setting& setting) {
  return std::vector<int32_t>(static_cast<size_t>(setting.batch),
                              static_cast<int32_t>(setting.len));
}

DecodeProblem decode_of(const Setting& setting, const Contender& contender, const Place& place) {
  return {{.q_dtype = setting.dtype,
           .kv_format = setting.dtype,
           .batch = setting.batch,
           .s_q = 1,
           .h_q = setting.heads,
           .h_kv = 1,
           .d_qk = contender.latent + contender.rope,
           .d_v = contender.latent,
           .page_size = kPageSize,
           .max_pages_per_sequence = std::max<int64_t>(1, pages_of(setting.len, kPageSize))},
          {.device = place.device, .num_threads = place.threads}};
}

Prediction predict(const Setting& setting, const Contender& contender, const Place& place) {
  if (contender.system == System::kDenseDecode) {
    return predict_decode(setting, contender, place);
  }
  const seesaw_baseline_cost counted = cost(layer_of(setting, contender, place), setting.past());
  Prediction prediction;
  prediction.operations = counted.projection_operations + counted.attention_operations;
  prediction.attention_operations = counted.attention_operations;
  prediction.bytes = counted.projection_bytes + counted.attention_bytes + counted.other_bytes;
  prediction.parameters = counted.parameter_count;
  prediction.weight_bytes = counted.weight_bytes;
  prediction.workspace_bytes = counted.intermediate_bytes;
  prediction.score_bytes = counted.score_bytes;
  prediction.cache_bytes_per_token = counted.cache_bytes_per_token;
  return prediction;
}

}  // namespace seesaw::tools
