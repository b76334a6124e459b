// What the tables cannot say of a call: which tensors go with which choices, and numbers in host
// memory.
#include <string_view>

#include "base/message.hpp"
#include "ops/append/problem.hpp"

namespace seesaw::append {
namespace {

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

Status check_given(const char* name, const Tensor& tensor, std::string_view why) {
  if (tensor.data != nullptr) {
    return {};
  }
  return bad(fmt::format("{} = NULL {}", name, why), "a tensor",
             fmt::format("Give {}, or plan without.", name));
}

Status check_not_given(const char* name, const Tensor& tensor, std::string_view why) {
  if (tensor.data == nullptr) {
    return {};
  }
  return bad(fmt::format("{} given {}", name, why), "NULL", "Leave it out, or plan for it.");
}

int64_t number_at(const Tensor& tensor, int64_t index) {
  return static_cast<const int64_t*>(tensor.data)[index * tensor.stride[0]];
}

Status check_scales(const Args& args) {
  const int64_t count = args.scales.shape[1];
  for (int64_t t = 0; t < tokens_of(args); ++t) {
    const float* scales = static_cast<const float*>(args.scales.data) + t * args.scales.stride[0];
    for (int64_t g = 0; g < count; ++g) {
      if (!is_scale(scales[g])) {
        return bad_scale(t, g, scales[g]);
      }
    }
  }
  return {};
}

}  // namespace

Status bad_slot(const Args& args, int64_t token, int64_t slot) {
  const int64_t slots = slots_of(args);
  return bad(fmt::format("slot_mapping[{}] = {}", token, slot),
             slots == 0 ? std::string("negative ones, as the cache has no slots")
                        : fmt::format("0 to {} ({} pages of {} tokens), or negative to skip",
                                      slots - 1, args.kv_cache.shape[0], args.kv_cache.shape[1]),
             "Correct the slot, or allocate more pages.");
}

Status bad_position(const Args& args, int64_t token, int64_t position) {
  return bad(fmt::format("positions[{}] = {}", token, position),
             fmt::format("0 to {} (rows of cos_sin - 1)", args.cos_sin.shape[0] - 1),
             "Correct the position, or compute cos_sin for more of them.");
}

Status bad_scale(int64_t token, int64_t index, float scale) {
  return bad(fmt::format("scales[{}, {}] = {}", token, index, scale), "positive finite numbers",
             "Correct the scale, or let it be computed.");
}

Status bad_kv_scale(float scale) {
  return bad(fmt::format("kv_scale = {}", scale), "a positive finite number",
             "Give the number that the cache's elements are multiplied by when read.");
}

Status check_tensors(const Problem& problem, const Args& args) {
  if (problem.d_rope > 0) {
    SEESAW_RETURN_IF_ERROR(
        check_given("k_rope", args.k_rope, fmt::format("with d_rope = {}", problem.d_rope)));
  }
  if (problem.rotates()) {
    SEESAW_RETURN_IF_ERROR(check_given("positions", args.positions, "with rotary embedding"));
    SEESAW_RETURN_IF_ERROR(check_given("cos_sin", args.cos_sin, "with rotary embedding"));
  } else {
    SEESAW_RETURN_IF_ERROR(check_not_given("q_rope", args.q_rope, "with rotary = none"));
  }
  if (problem.scale_rule() != ScaleRule::kGiven) {
    return check_not_given("scales", args.scales, "where they are computed");
  }
  SEESAW_RETURN_IF_ERROR(check_given("scales", args.scales, "with scales = given"));
  const int32_t count = problem.format().scales.count;
  if (args.scales.shape[1] == count) {
    return {};
  }
  return bad(fmt::format("scales.shape[1] = {} with format {}", args.scales.shape[1],
                         problem.format().name),
             fmt::format("{}, the scales of a token", count), "Give each of them.");
}

Status check_numbers(const Problem& problem, const Args& args) {
  const int64_t slots = slots_of(args);
  for (int64_t t = 0; t < tokens_of(args); ++t) {
    const int64_t slot = number_at(args.slot_mapping, t);
    if (slot >= slots) {
      return bad_slot(args, t, slot);
    }
  }
  if (problem.rotates()) {
    for (int64_t t = 0; t < tokens_of(args); ++t) {
      const int64_t position = number_at(args.positions, t);
      if (position < 0 || position >= args.cos_sin.shape[0]) {
        return bad_position(args, t, position);
      }
    }
  }
  if (problem.scale_rule() == ScaleRule::kGiven) {
    SEESAW_RETURN_IF_ERROR(check_scales(args));
  }
  if (problem.format().tensor_scale && args.kv_scale.data != nullptr) {
    const float scale = *static_cast<const float*>(args.kv_scale.data);
    return is_scale(scale) ? Status() : bad_kv_scale(scale);
  }
  return {};
}

}  // namespace seesaw::append
