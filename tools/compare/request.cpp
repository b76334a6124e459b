#include "compare/request.hpp"

#include <fmt/format.h>

#include <limits>

#include "compare/fit.hpp"
#include "error.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

[[noreturn]] void refuse(const std::string& option, const std::string& arrived,
                         const std::string& allowed) {
  throw bad_input({"compare", option + " = " + arrived, "allowed: " + allowed,
                   "Give one of these, or leave the option out."});
}

// For an option that something else makes useless.
[[noreturn]] void refuse_with(const std::string& option, const std::string& other,
                              const std::string& needed) {
  throw bad_input(
      {"compare", option + " with " + other, "needed: " + needed, "Leave one of the two out."});
}

// The parser gives the largest integer for everything above it.
std::string text_of(int64_t value) {
  return value == std::numeric_limits<int64_t>::max() ? fmt::format("{} or more", value)
                                                      : std::to_string(value);
}

// Plain loops in double go over this many tokens, squared.
constexpr int64_t kMostCheckTokens = 4096;
constexpr int32_t kMostThreads = 4096;

void require_each(const char* option, const std::vector<int64_t>& values,
                  int64_t most = int64_t{1} << 24) {
  for (const int64_t value : values) {
    if (value < 1 || value > most) {
      refuse(option, text_of(value), fmt::format("1 to {}", most));
    }
  }
}

Phase parse_phase(const std::string& text) {
  if (text != "prefill" && text != "decode") {
    refuse("--phase", printable(text), "prefill, decode");
  }
  return text == "prefill" ? Phase::kPrefill : Phase::kDecode;
}

}  // namespace

void require_sense(const CompareOptions& options) {
  require_each("--batch", options.batches);
  require_each("--heads", options.heads);
  require_each("--len", options.lens);
  require_each("--latent", options.latents);
  require_each("--d-latent", options.d_latents);
  require_each("--head-dim", {options.head_dim});
  require_each("--chunk", {options.chunk});
  if (options.check_tokens != 0) {
    require_each("--check-tokens", {options.check_tokens}, kMostCheckTokens);
  }
  require_each("--fit-tokens", {options.tradeoff.check_tokens}, kMostCheckTokens);
  require_each("--fit-len", {options.tradeoff.len});
  require_each("--fit-heads", {options.fit_heads});
  require_each("--fit-head-dim", {options.spectrum.head_dim});
  require_each("--ranks", options.tradeoff.ranks);
  if (options.d_model != 0) {
    require_each("--d-model", {options.d_model});
  }
  if (options.d_rope < 0 || options.d_rope % 2 != 0) {
    refuse("--d-rope", std::to_string(options.d_rope), "0 (half of --head-dim) or an even number");
  }
  if (!(options.rules.seconds >= 0 && options.rules.seconds <= 3600)) {
    refuse("--seconds", fmt::format("{}", options.rules.seconds), "0 to 3600");
  }
  const double decay = options.spectrum.decay;
  if (!(decay >= 0 && decay <= 10)) {  // a NaN is neither
    refuse("--fit-decay", fmt::format("{}", decay), "0 to 10");
  }
  if (options.threads < 0 || options.threads > kMostThreads) {
    refuse("--threads", std::to_string(options.threads),
           fmt::format("0 (all) to {}", kMostThreads));
  }
  if (!options.fit && !options.weights.path.empty()) {
    refuse_with("--weights = " + printable(options.weights.path), "--no-fit", "weights to fit");
  }
  if (!options.fit && !options.weights.prefix.empty()) {
    refuse_with("--weights-prefix = " + printable(options.weights.prefix), "--no-fit",
                "a prefix of weights to fit");
  }
  if (options.device == "cpu" && !options.ncu.empty()) {
    refuse_with("--ncu = " + printable(options.ncu), "--device cpu", "a GPU's counters");
  }
  if (options.device == "cpu" && options.counters.value_or(false)) {
    refuse_with("--counters", "--device cpu", "a GPU's counters");
  }
}

void check_fit(const CompareOptions& options) {
  const int64_t width = options.fit_heads * options.spectrum.head_dim;
  if (options.weights.path.empty()) {
    if (options.fit) {
      require_fit_memory(width, width);
    }
    check_ranks(options.tradeoff.ranks, options.fit_heads, options.spectrum.head_dim, width);
  } else {
    WeightFile file = options.weights;
    file.heads = options.fit_heads;
    require_fit_memory(file);
    const HeadWeights weights = read_weights(file);
    check_ranks(options.tradeoff.ranks, weights.heads, weights.head_dim, weights.d_model);
  }
}

std::vector<Setting> make_settings(const CompareOptions& options) {
  std::vector<Setting> settings;
  for (const std::string& phase : options.phases) {
    for (const std::string& dtype : options.dtypes) {
      for (const int64_t heads : options.heads) {
        for (const int64_t batch : options.batches) {
          for (const int64_t len : options.lens) {
            Setting setting;
            setting.phase = parse_phase(phase);
            setting.batch = batch;
            setting.len = len;
            setting.heads = heads;
            setting.head_dim = options.head_dim;
            setting.width = options.d_model;
            setting.chunk_size = options.chunk;
            setting.dtype = parse_dtype(dtype, "--dtype");
            setting.causal = options.causal;
            settings.push_back(setting);
          }
        }
      }
    }
  }
  return settings;
}

std::vector<Contender> make_contenders(const CompareOptions& options, Phase phase) {
  const int64_t even_half = (options.head_dim + 3) / 4 * 2;
  const int64_t rope = options.d_rope > 0 ? options.d_rope : even_half;
  std::vector<Contender> all = {{System::kMha, 0, 0}};
  const std::vector<int64_t> latents =
      options.latents.empty() ? std::vector<int64_t>{options.head_dim} : options.latents;
  for (const int64_t latent : latents) {
    all.push_back({System::kTraditional, latent, 0});
    all.push_back({System::kChunked, latent, 0});
  }
  const std::vector<int64_t> d_latents =
      options.d_latents.empty() ? std::vector<int64_t>{4 * options.head_dim} : options.d_latents;
  for (const int64_t latent : d_latents) {
    all.push_back({System::kExpanded, latent, rope});
    all.push_back({System::kAbsorbed, latent, rope});
    if (phase == Phase::kDecode) {
      all.push_back({System::kDenseDecode, latent, rope});
    }
  }
  return all;
}

std::vector<Contender> claim_contenders() {
  constexpr int64_t kLatent = 64;
  return {{System::kMha, 0, 0}, {System::kTraditional, kLatent, 0}, {System::kChunked, kLatent, 0}};
}

std::vector<ClaimGroup> claim_groups(seesaw_dtype dtype, bool is_gpu) {
  struct Shape {
    int64_t batch, len, heads;
  };
  std::vector<ClaimGroup> groups;
  for (const Shape& shape : {Shape{1, 1024, 32}, Shape{1, 2048, 32}, Shape{1, 4096, 32},
                             Shape{4, 1024, 32}, Shape{4, 2048, 32}, Shape{1, 2048, 64}}) {
    Setting setting;
    setting.batch = shape.batch;
    setting.len = shape.len;
    setting.heads = shape.heads;
    setting.dtype = dtype;
    groups.push_back({setting, claim_contenders()});
  }
  Setting decode;
  decode.phase = Phase::kDecode;
  decode.batch = 32;
  decode.len = 32768;
  decode.head_dim = 128;
  decode.dtype = SEESAW_BFLOAT16;
  // 256 query rows: two new tokens of 128 heads.
  for (const int64_t heads : is_gpu ? std::vector<int64_t>{256, 16} : std::vector<int64_t>{}) {
    decode.heads = heads;
    groups.push_back({decode, {{System::kDenseDecode, 512, 64}}, 20});
  }
  return groups;
}

}  // namespace seesaw::tools
