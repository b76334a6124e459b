#include "support/rounded_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "base/math.hpp"
#include "gpu/partials.hpp"
#include "lab/elements.hpp"

namespace seesaw::testing {
namespace {

constexpr int64_t kTileTokens = 64;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float rounded(float value, int32_t dtype) {
  float stored = 0;
  lab::store_element(&stored, dtype, 0, value);
  return lab::load_element(&stored, dtype, 0);
}

struct Partial {
  std::vector<float> out;  // in `frame`, not normalised
  float frame = gpu::kEmptyFrame;
  float sum = 0;
};

class Row {
 public:
  Row(const DecodeCase& test_case, const RoundedModel& model, int64_t sequence, int64_t token,
      int64_t head)
      : case_(test_case),
        spec_(test_case.spec()),
        model_(model),
        sequence_(sequence),
        token_(token),
        head_(head) {}

  void run(double* out, double* lse) const {
    const int64_t hidden = spec_.causal != 0 ? spec_.s_q - 1 - token_ : 0;
    const int64_t keys = std::max<int64_t>(spec_.length(sequence_) - hidden, 0);
    const int64_t tiles = ceil_div(keys, kTileTokens);
    std::vector<Partial> partials;
    for (int64_t i = 0; i < model_.pieces; ++i) {
      const int64_t begin = tiles * i / model_.pieces * kTileTokens;
      const int64_t end = std::min(tiles * (i + 1) / model_.pieces * kTileTokens, keys);
      partials.push_back(attend(begin, end));
    }
    finish(partials, out, lse);
  }

 private:
  int64_t kv_head() const { return head_ / (spec_.h_q / spec_.h_kv); }
  bool is_16_bit() const { return spec_.q_dtype != SEESAW_FLOAT32; }

  float score_log2(int64_t t) const {
    float sum = 0;
    for (int64_t c = 0; c < spec_.d_qk; ++c) {
      sum += case_.query(sequence_, token_, head_, c) * case_.key(sequence_, t, kv_head(), c);
    }
    return sum * (spec_.scale * std::numbers::log2e_v<float>);
  }

  Partial attend(int64_t begin, int64_t end) const {
    Partial partial;
    partial.out.assign(static_cast<size_t>(spec_.d_v), 0.0F);
    for (int64_t tile = begin; tile < end; tile += kTileTokens) {
      std::vector<float> scores;
      for (int64_t t = tile; t < std::min(tile + kTileTokens, end); ++t) {
        scores.push_back(score_log2(t));
      }
      const float maximum = *std::max_element(scores.begin(), scores.end());
      if (maximum - partial.frame > model_.frame_slack) {
        move(&partial, maximum);
      }
      for (size_t i = 0; i < scores.size(); ++i) {
        const float weight = std::exp2(scores[i] - partial.frame);
        partial.sum += weight;
        add(&partial, rounded(weight, spec_.kv_dtype), tile + static_cast<int64_t>(i));
      }
    }
    return partial;
  }

  static void move(Partial* partial, float frame) {
    const float factor = std::exp2(partial->frame - frame);
    for (float& value : partial->out) {
      value *= factor;
    }
    partial->sum *= factor;
    partial->frame = frame;
  }

  void add(Partial* partial, float weight, int64_t t) const {
    for (int64_t c = 0; c < spec_.d_v; ++c) {
      partial->out[static_cast<size_t>(c)] += weight * case_.key(sequence_, t, kv_head(), c);
    }
  }

  // A block of columns at a time as fp16, times a power of two: gpu/partials.hpp.
  void store(Partial* partial) const {
    const int64_t block = gpu::partial_block_columns(spec_.d_v);
    for (int64_t begin = 0; begin < spec_.d_v; begin += block) {
      const int64_t end = std::min(begin + block, spec_.d_v);
      float largest = 0;
      for (int64_t c = begin; c < end; ++c) {
        largest = std::max(largest, std::fabs(partial->out[static_cast<size_t>(c)]));
      }
      const gpu::PartialScale scale = gpu::partial_scale(std::bit_cast<uint32_t>(largest));
      for (int64_t c = begin; c < end; ++c) {
        float& value = partial->out[static_cast<size_t>(c)];
        value = rounded(value * std::bit_cast<float>(scale.scale_bits), SEESAW_FLOAT16) *
                std::bit_cast<float>(scale.unscale_bits);
      }
    }
  }

  void finish(std::vector<Partial>& partials, double* out, double* lse) const {
    float frame = gpu::kEmptyFrame;
    for (const Partial& partial : partials) {
      frame = std::max(frame, partial.frame);
    }
    float sum = 0;
    std::vector<float> total(static_cast<size_t>(spec_.d_v), 0.0F);
    for (Partial& partial : partials) {
      if (is_16_bit() && partials.size() > 1) {
        store(&partial);
      }
      const float weight = std::exp2(partial.frame - frame);
      sum += weight * partial.sum;
      for (size_t c = 0; c < total.size(); ++c) {
        total[c] += weight * partial.out[c];
      }
    }
    const float inverse = sum == 0.0F ? 0.0F : 1.0F / sum;
    for (size_t c = 0; c < total.size(); ++c) {
      out[c] = static_cast<double>(rounded(total[c] * inverse, spec_.q_dtype));
    }
    const float natural = (frame + std::log2(sum)) * std::numbers::ln2_v<float>;
    *lse = static_cast<double>(sum == 0.0F ? -kInfinity : natural);
  }

  const DecodeCase& case_;
  const DecodeSpec& spec_;
  const RoundedModel& model_;
  int64_t sequence_;
  int64_t token_;
  int64_t head_;
};

}  // namespace

DecodeResults run_model(const DecodeCase& test_case, const RoundedModel& model) {
  const DecodeSpec& spec = test_case.spec();
  const auto rows = static_cast<size_t>(spec.batch() * spec.s_q * spec.h_q);
  DecodeResults results;
  results.out.resize(rows * static_cast<size_t>(spec.d_v));
  results.lse.resize(rows);
  for (int64_t i = 0; i < static_cast<int64_t>(rows); ++i) {
    const int64_t head = i % spec.h_q;
    const int64_t token = i / spec.h_q % spec.s_q;
    const int64_t sequence = i / spec.h_q / spec.s_q;
    Row(test_case, model, sequence, token, head)
        .run(results.out.data() + i * spec.d_v,
             results.lse.data() + (sequence * spec.h_q + head) * spec.s_q + token);
  }
  return results;
}

}  // namespace seesaw::testing
