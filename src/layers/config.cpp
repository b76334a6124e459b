#include "layers/config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "layers/refusal.hpp"

namespace seesaw::layers {
namespace {

using Json = nlohmann::json;

constexpr const char* kOfModel = "Pass the configuration of a model with MLA.";
constexpr const char* kOfRope = "Take it from the model's configuration.";
constexpr int kDeepest =
    32;  // levels of objects and lists: nlohmann's parser calls itself for each
constexpr int64_t kWidest = 1 << 20;

// A value as it arrived, short enough for a message.
std::string shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 60) + "..." : text;
}

// The entry of an object, or null.
const Json& entry(const Json& object, const char* name) {
  static const Json null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

struct Size {
  const char* name;
  int64_t seesaw_baseline_problem::*to;
  int64_t least;  // 0: may be missing
  int64_t most = kWidest;
};
constexpr Size kSizes[] = {
    {"hidden_size", &seesaw_baseline_problem::d_model, 1},
    {"num_attention_heads", &seesaw_baseline_problem::num_heads, 1},
    {"kv_lora_rank", &seesaw_baseline_problem::d_latent, 1},
    {"q_lora_rank", &seesaw_baseline_problem::d_q_latent, 0},
    {"qk_nope_head_dim", &seesaw_baseline_problem::d_nope, 1},
    {"qk_rope_head_dim", &seesaw_baseline_problem::d_rope, 2},
    {"v_head_dim", &seesaw_baseline_problem::d_v, 1},
};

Status read_size(const Json& json, const Size& size, seesaw_baseline_problem* layer) {
  const Json& value = entry(json, size.name);
  if (value.is_null() && size.least == 0) {
    return {};
  }
  const int64_t number = value.is_number_integer() ? value.get<int64_t>() : -1;
  const bool even = size.to != &seesaw_baseline_problem::d_rope || number % 2 == 0;
  if (number < size.least || number > size.most || !even) {
    return bad(fmt::format("{} = {} in the configuration", size.name, shown(value)),
               fmt::format("{} to {}{}", size.least, size.most, size.least == 2 ? ", even" : ""),
               kOfModel);
  }
  layer->*size.to = number;
  return {};
}

// A number in (least, infinity), or null: left as it is.
Status read_number(const char* where, const char* name, const Json& value, double least,
                   double* to) {
  if (value.is_null()) {
    return {};
  }
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number > least) || !std::isfinite(number)) {
    return bad(fmt::format("{} = {} in {}", name, shown(value), where),
               fmt::format("a number above {:g}", least), kOfRope);
  }
  *to = number;
  return {};
}

Status read_flag(const char* name, const Json& value, bool* to) {
  if (value.is_null()) {
    return {};
  }
  if (!value.is_boolean()) {
    return bad(fmt::format("{} = {} in the configuration", name, shown(value)), "true or false",
               kOfModel);
  }
  *to = value.get<bool>();
  return {};
}

constexpr std::array kKnown = {"factor",    "beta_fast",      "beta_slow",
                               "mscale",    "mscale_all_dim", "type",
                               "rope_type", "rope_theta",     "original_max_position_embeddings"};

Status check_known(const Json& rope) {
  for (const auto& [name, value] : rope.items()) {
    const bool known = std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end();
    if (!known && !value.is_null()) {
      return bad(fmt::format("rope_scaling has {} = {}", shown(name), shown(value)),
                 fmt::format("{}", fmt::join(kKnown, ", ")),
                 "It asks for what is not computed here: leave it out if the model does.");
    }
  }
  return {};
}

Status read_yarn(const Json& rope, seesaw_baseline_problem* layer) {
  constexpr const char* kIn = "rope_scaling";
  constexpr double kBelowZero = -std::numeric_limits<double>::denorm_min();
  SEESAW_RETURN_IF_ERROR(check_known(rope));
  if (entry(rope, "factor").is_null()) {
    return bad("rope_scaling without factor", "YaRN's factor, a positive number", kOfRope);
  }
  struct Number {
    const char* name;
    double seesaw_baseline_problem::*to;
    double least;
  };
  constexpr Number kNumbers[] = {
      {"factor", &seesaw_baseline_problem::rope_factor, 0.0},
      {"beta_fast", &seesaw_baseline_problem::rope_beta_fast, 0.0},
      {"beta_slow", &seesaw_baseline_problem::rope_beta_slow, 0.0},
      {"mscale", &seesaw_baseline_problem::rope_mscale, 0.0},
      {"mscale_all_dim", &seesaw_baseline_problem::rope_mscale_all_dim, kBelowZero},
  };
  for (const Number& number : kNumbers) {
    SEESAW_RETURN_IF_ERROR(read_number(kIn, number.name, entry(rope, number.name), number.least,
                                       &(layer->*number.to)));
  }
  const Json& positions = entry(rope, "original_max_position_embeddings");
  const double length = positions.is_number() ? positions.get<double>() : 0.0;
  if (!(length >= 1.0) || length >= 0x1p30 || length != std::floor(length)) {
    return bad(
        fmt::format("original_max_position_embeddings = {} in rope_scaling", shown(positions)),
        "1 to 2^30", kOfRope);
  }
  layer->rope_original_positions = static_cast<int64_t>(length);
  return {};
}

Status read_rope(const Json& json, seesaw_baseline_problem* layer) {
  // Newer versions of Transformers call it rope_parameters, and keep rope_theta there.
  const Json& older = entry(json, "rope_scaling");
  const Json& rope = older.is_null() ? entry(json, "rope_parameters") : older;
  SEESAW_RETURN_IF_ERROR(read_number("the configuration", "rope_theta", entry(json, "rope_theta"),
                                     1.0, &layer->rope_theta));
  if (rope.is_null()) {
    return {};
  }
  if (!rope.is_object()) {
    return bad(fmt::format("rope_scaling = {}", shown(rope)), "an object, or null", kOfRope);
  }
  if (layer->rope_theta == 0.0) {
    SEESAW_RETURN_IF_ERROR(read_number("rope_scaling", "rope_theta", entry(rope, "rope_theta"), 1.0,
                                       &layer->rope_theta));
  }
  const Json& named = entry(rope, "rope_type");
  const Json& kind = named.is_null() ? entry(rope, "type") : named;
  if (kind == "default") {
    return {};
  }
  if (kind != "yarn" && kind != "deepseek_yarn") {
    return bad(fmt::format("rope_scaling of type {}", shown(kind)), "\"yarn\"",
               "Use a model with YaRN, or without rope scaling.");
  }
  return read_yarn(rope, layer);
}

Status parse(std::string_view text, Json* json) {
  bool too_deep = false;
  const auto keep = [&](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  *json = Json::parse(text, keep, /*allow_exceptions=*/false);
  if (!json->is_object() || too_deep) {
    return bad("a configuration that is no JSON object, or is nested too deep",
               fmt::format("an object of up to {} levels", kDeepest),
               "Pass the text of the model's config.json.");
  }
  return {};
}

}  // namespace

Status read_config(std::string_view text, Config* config) {
  Json json;
  SEESAW_RETURN_IF_ERROR(parse(text, &json));
  seesaw_baseline_problem& layer = config->layer;
  layer.struct_size = sizeof(layer);
  layer.device = {SEESAW_CPU, 0};
  layer.model = SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED;
  layer.batch = 1;
  layer.tokens = 1;
  for (const Size& size : kSizes) {
    SEESAW_RETURN_IF_ERROR(read_size(json, size, &layer));
  }
  SEESAW_RETURN_IF_ERROR(read_rope(json, &layer));
  double epsilon = 1e-6;
  SEESAW_RETURN_IF_ERROR(
      read_number("the configuration", "rms_norm_eps", entry(json, "rms_norm_eps"), 0.0, &epsilon));
  layer.norm_epsilon = static_cast<float>(epsilon);
  bool bias = false;
  SEESAW_RETURN_IF_ERROR(read_flag("attention_bias", entry(json, "attention_bias"), &bias));
  layer.flags = SEESAW_BASELINE_CAUSAL;
  if (bias) {
    layer.flags |= SEESAW_BASELINE_BIAS;
  }
  return read_flag("rope_interleave", entry(json, "rope_interleave"), &config->interleaved);
}

}  // namespace seesaw::layers
