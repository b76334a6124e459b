#include "support/adversaries.hpp"

#include <cmath>

#include "lab/accuracy_math.hpp"

namespace seesaw::testing {
namespace {

using lab::DecodeCase;

constexpr int64_t kScoreColumn = 574;  // not a value; the next one adds what 16 bits leave out
constexpr float kRestUnit = 0x1p-8F;

double roundoff(seesaw_dtype dtype) { return lab::roundoff_of(dtype); }

// One head and one sequence, all zero; scores are the keys' two last columns.
DecodeCase blank_case(int32_t tokens, seesaw_dtype dtype) {
  DecodeCase made({.seq_lens = {tokens},
                   .h_q = 1,
                   .q_dtype = dtype,
                   .kv_dtype = dtype,
                   .scale = 1.0F,
                   .query_magnitude = 0.0F});
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < 576; ++c) {
      made.set_key(0, t, 0, c, 0.0F);
    }
  }
  made.set_query(0, 0, 0, kScoreColumn, 1.0F);
  made.set_query(0, 0, 0, kScoreColumn + 1, kRestUnit);
  return made;
}

void set_score(DecodeCase* made, int64_t token, double score) {
  made->set_key(0, token, 0, kScoreColumn, static_cast<float>(score));
  const double rest = score - static_cast<double>(made->key(0, token, 0, kScoreColumn));
  made->set_key(0, token, 0, kScoreColumn + 1,
                static_cast<float>(rest / static_cast<double>(kRestUnit)));
}

void set_values(DecodeCase* made, int64_t token, float value) {
  for (int64_t c = 0; c < 512; ++c) {
    made->set_key(0, token, 0, c, value);
  }
}

constexpr Adversary kAdversaries[] = {{"two keys", two_keys},
                                      {"one-sided weights", one_sided_weights},
                                      {"absorbed values", absorbed_values},
                                      {"absorbed scores", absorbed_scores},
                                      {"spikes", spikes},
                                      {"faint weights", faint_weights}};

}  // namespace

std::span<const Adversary> all_adversaries() { return kAdversaries; }

DecodeCase two_keys(seesaw_dtype dtype) {
  DecodeCase made = blank_case(2, dtype);
  set_values(&made, 0, 4.0F);
  set_values(&made, 1, -4.0F);
  made.set_key(0, 0, 0, kScoreColumn, 0.0139F);
  return made;
}

DecodeCase one_sided_weights(seesaw_dtype dtype) {
  DecodeCase made = blank_case(257, dtype);
  const double middle = 1 + roundoff(dtype);
  for (int64_t t = 1; t < 257; ++t) {
    const double side = t % 2 == 0 ? 1.0 : -1.0;
    set_values(&made, t, t % 2 == 0 ? -1.0F : 1.0F);
    set_score(&made, t, std::log(0.5 * middle * (1 + side * roundoff(dtype) / 16)));
  }
  return made;
}

DecodeCase absorbed_values(seesaw_dtype dtype) {
  constexpr int32_t kTokens = 5000;
  DecodeCase made = blank_case(kTokens, dtype);
  for (int64_t t = 0; t < kTokens; ++t) {
    set_values(&made, t, t == 0 ? 1.0F : 0x1p-24F);
  }
  return made;
}

DecodeCase absorbed_scores(seesaw_dtype dtype) {
  constexpr float kScale = 60.0F;
  DecodeCase made(
      {.seq_lens = {2}, .h_q = 1, .q_dtype = dtype, .kv_dtype = dtype, .scale = kScale});
  for (int64_t c = 0; c < 576; ++c) {
    made.set_query(0, 0, 0, c, c == 0 || c == 2 ? 1.0F : c == 1 ? 0.0F : 0x1p-12F);
    made.set_key(0, 0, 0, c, 0x1p-12F);
    made.set_key(0, 1, 0, c, 0x1p-12F * (1 + 0x1p-7F));
  }
  for (const int64_t token : {0, 1}) {
    made.set_key(0, token, 0, 0, 1.0F);
    made.set_key(0, token, 0, 1, token == 0 ? 1.0F : -1.0F);
    made.set_key(0, token, 0, 2, 0.0F);
  }
  return made;
}

DecodeCase spikes(seesaw_dtype dtype) {
  DecodeCase made({.seq_lens = {900, 130},
                   .h_q = 3,
                   .q_dtype = dtype,
                   .kv_dtype = dtype,
                   .values = lab::Values::kNormal});
  for (int64_t sequence = 0; sequence < 2; ++sequence) {
    for (int64_t head = 0; head < 3; ++head) {
      for (int64_t c = 0; c < 512; c += 7) {
        made.set_query(sequence, 0, head, c, 0.0F);
      }
    }
    for (int64_t t = 0; t < made.spec().length(sequence); t += 97) {
      for (int64_t c = 0; c < 512; c += 7) {
        made.set_key(sequence, t, 0, c, 1000.0F * made.key(sequence, t, 0, c));
      }
    }
  }
  return made;
}

DecodeCase faint_weights(seesaw_dtype dtype) {
  DecodeCase made = blank_case(130, dtype);
  for (int64_t t = 1; t < 130; ++t) {
    set_values(&made, t, 1000.0F);
    set_score(&made, t, std::log(0x1p-25 * (1 - 1.0 / 64)));
  }
  return made;
}

}  // namespace seesaw::testing
