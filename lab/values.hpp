// What tensors of made-up cases hold. A draw is a table of 2^16 quantiles, so that drawing costs a
// look-up; the draw against cancellation also looks at where an element stands.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace seesaw::lab {

enum class Values : int32_t {
  kSuite = 0,  // normal / 10, clamped to +-1: as in the field's benchmarks and FlashMLA's suite
  kNormal,     // normal
  kPeaked,     // 3 * normal: a row's softmax is nearly one key
  kHeavy,      // Student's t with two degrees of freedom: variance has no bound
  kCancel      // values alternate from token to token, +-4 and a tenth; queries see the columns
               // past the values only, so that weights are even and the sums nearly vanish
};

struct NamedValues {
  std::string_view name;
  Values values;
  std::string_view what;
};
std::span<const NamedValues> all_values();
std::string_view name_of(Values values);

// Entry i of 2^16 is the (i + 1/2) / 2^16 quantile. Of kCancel: a normal's.
const std::vector<float>& quantiles(Values values);
inline float draw(Values values, uint64_t hash) { return quantiles(values)[hash & 0xFFFFu]; }

// Which element of a row it is, and whose.
struct Place {
  int64_t token;  // of its sequence
  int64_t column;
  int64_t d_v;  // columns before it are values
};
inline bool is_value(const Place& place) { return place.column < place.d_v; }

// The element of a key, or of a query, that was drawn as `drawn`.
inline float key_element(Values values, float drawn, const Place& place) {
  if (values != Values::kCancel || !is_value(place)) return drawn;
  const float magnitude = 4.0F + 0.1F * drawn;
  return place.token % 2 == 0 ? magnitude : -magnitude;
}
inline float query_element(Values values, float drawn, const Place& place) {
  return values == Values::kCancel && is_value(place) ? 0.0F : drawn;
}

}  // namespace seesaw::lab
