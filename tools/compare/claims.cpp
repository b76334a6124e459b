#include "compare/claims.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace seesaw::tools {
namespace {

using K = ClaimKind;

// (batch, tokens, heads, head_dim, latent), as the notes' tables give them.
constexpr NotesShape kN1024{1, 1024, 32, 64, 64};
constexpr NotesShape kN2048{1, 2048, 32, 64, 64};
constexpr NotesShape kN4096{1, 4096, 32, 64, 64};
constexpr NotesShape kB4N1024{4, 1024, 32, 64, 64};
constexpr NotesShape kB4N2048{4, 2048, 32, 64, 64};
constexpr NotesShape kH64{1, 2048, 64, 64, 64};
constexpr std::array kMeasuredShapes = {kN1024, kN2048, kN4096, kB4N1024, kB4N2048, kH64};

// Within this of the printed value counts as the same.
constexpr double kTolerance = 0.15;

bool same(const NotesShape& a, const Setting& s) {
  return s.phase == Phase::kPrefill && s.batch == a.batch && s.len == a.tokens &&
         s.heads == a.heads && s.head_dim == a.head_dim && s.width == 0 && s.bias && !s.causal;
}

// What there is to answer with.
struct Measured {
  const std::vector<Row>& rows;
  const CountersReport& counters;
  seesaw_dtype dtype;  // of the layers
  bool is_gpu;
};

const Row* find(const Measured& measured, const NotesShape& shape, System system) {
  const std::vector<Row>& rows = measured.rows;
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) {
    const bool latent = system == System::kMha || row.contender.latent == shape.latent;
    return row.measured() && row.contender.system == system && latent &&
           row.setting.dtype == measured.dtype && same(shape, row.setting);
  });
  return found == rows.end() ? nullptr : &*found;
}

// Of a measured row; none if this quantity was not measured with it.
using Value = std::optional<double>;
using Quantity = Value (*)(const Row& row);

Value speed_up(const Row& row) { return row.speed_up ? Value(row.speed_up->median) : std::nullopt; }
Value efficiency(const Row& row) {
  return row.speed_up ? Value(row.speed_up->median / static_cast<double>(row.setting.heads))
                      : std::nullopt;
}
Value gigabytes(const Row& row) {
  return row.peak_bytes > 0 ? Value(static_cast<double>(row.peak_bytes) / 1e9) : std::nullopt;
}
Value milliseconds(const Row& row) { return row.us.median / 1e3; }
Value teraflops(const Row& row) { return row.gflops() / 1e3; }
Value bandwidth(const Row& row) { return row.gbps(); }
Value bandwidth_fraction(const Row& row) { return row.gbps() / row.ceilings.read_gbps; }

void measure(const Measured& measured, Quantity quantity, bool with_mha, ClaimAnswer* answer) {
  const auto value = [&](System system) {
    const Row* row = find(measured, answer->claim.shape, system);
    return row == nullptr ? std::nullopt : quantity(*row);
  };
  answer->plain = value(System::kTraditional);
  answer->chunked = value(System::kChunked);
  answer->mha = with_mha ? value(System::kMha) : std::nullopt;
}

void measure_counter(const CountersReport& counters, ClaimAnswer* answer) {
  for (const LayerCounters& layer : counters.layers) {
    std::optional<double>& value = layer.contender.system == System::kMha ? answer->mha
                                   : layer.contender.system == System::kTraditional
                                       ? answer->plain
                                       : answer->chunked;
    value = percent(layer.whole, answer->claim.counter);
  }
}

// The best that the decode kernel did anywhere.
void measure_decode(const std::vector<Row>& rows, Quantity quantity, ClaimAnswer* answer) {
  for (const Row& row : rows) {
    if (row.measured() && row.contender.system == System::kDenseDecode) {
      answer->plain = std::max(answer->plain, quantity(row));  // none is less than any value
    }
  }
}

// "as claimed", or how far off.
std::string against(const Claim& claim, double value) {
  if (value >= claim.low * (1 - kTolerance) && value <= claim.high * (1 + kTolerance)) {
    return "as claimed";
  }
  return fmt::format("{:.3g} times the printed value",
                     value / (value > claim.high ? claim.high : claim.low));
}

std::string formula_verdict(const ClaimAnswer& answer) {
  const double value = *answer.formula;
  const std::string first = against(answer.claim, value) == "as claimed"
                                ? "the notes' formula gives this"
                                : fmt::format("the notes' formula gives {:.3g}, not this", value);
  return answer.counted
             ? first + fmt::format("; a whole layer's count gives {:.3g}", *answer.counted)
             : first;
}

std::string measured_verdict(const ClaimAnswer& answer, const char* otherwise) {
  if (!answer.plain && !answer.chunked && !answer.mha) {
    return otherwise;
  }
  if (answer.claim.kind == K::kMhaTime && answer.mha) {
    return "multi-head attention here: " + against(answer.claim, *answer.mha);
  }
  std::string verdict;
  const auto add = [&](const char* name, const std::optional<double>& value) {
    if (value) {
      verdict += (verdict.empty() ? "" : "; ") + std::string(name) + against(answer.claim, *value);
    }
  };
  add(answer.chunked ? "plain: " : "", answer.plain);
  add("chunked: ", answer.chunked);
  return verdict;
}

std::string memory_verdict(const ClaimAnswer& answer) {
  std::string verdict =
      fmt::format("H N^2 4 bytes is {:.3g} GB, the printed figure {:.3g} times it", *answer.formula,
                  answer.claim.high / *answer.formula);
  if (answer.mha && answer.plain) {
    verdict +=
        fmt::format("; measured: multi-head attention {}, traditional MLA {}",
                    against(answer.claim, *answer.mha), against(answer.claim, *answer.plain));
  }
  return verdict;
}

// Operations of whole layers, as the library counts them.
double counted_ratio(const NotesShape& shape) {
  const Setting setting = setting_of(shape, SEESAW_FLOAT32);
  const std::vector<Contender> contenders = claim_contenders(shape);
  return predict(setting, contenders[0], {}).operations /
         predict(setting, contenders[1], {}).operations;
}

constexpr const char* kNotRun = "not measured in this run";
constexpr const char* kNeedsGpu = "not measured: needs a GPU";

ClaimAnswer answer_one(const Claim& claim, const Measured& measured) {
  ClaimAnswer answer;
  answer.claim = claim;
  const NotesModel model = notes_model(claim.shape);
  switch (claim.kind) {
    case K::kIdealRatio:
      answer.formula = model.ideal_speed_up();
      answer.counted = counted_ratio(claim.shape);
      break;
    case K::kRatio:
      answer.formula = model.speed_up();
      answer.counted = counted_ratio(claim.shape);
      break;
    case K::kOverheadRatio:
      answer.formula = model.overhead_ratio();
      break;
    case K::kSpeedUp:
      answer.formula = model.speed_up();
      answer.counted = counted_ratio(claim.shape);
      measure(measured, speed_up, false, &answer);
      break;
    case K::kEfficiency:
      measure(measured, efficiency, false, &answer);
      break;
    case K::kMemory:
      answer.formula = model.mha_bytes / 1e9;
      measure(measured, gigabytes, true, &answer);
      answer.verdict = memory_verdict(answer);
      return answer;
    case K::kMhaTime:
    case K::kMlaTime:
      measure(measured, milliseconds, claim.kind == K::kMhaTime, &answer);
      if (claim.kind == K::kMhaTime) {
        answer.plain = answer.chunked = std::nullopt;
      }
      break;
    case K::kMlaBandwidth:
      measure(measured, bandwidth, true, &answer);
      break;
    case K::kMlaBandwidthFraction:
      measure(measured, bandwidth_fraction, true, &answer);
      break;
    case K::kDecodeRate:
      if (measured.is_gpu) {
        measure_decode(measured.rows, teraflops, &answer);
      }
      break;
    case K::kDecodeBandwidth:
      if (measured.is_gpu) {
        measure_decode(measured.rows, bandwidth, &answer);
      }
      break;
    case K::kDecodeBandwidthFraction:
      if (measured.is_gpu) {
        measure_decode(measured.rows, bandwidth_fraction, &answer);
      }
      break;
    case K::kCounter:
      measure_counter(measured.counters, &answer);
      answer.verdict = measured_verdict(
          answer, "not measured here: needs a GPU's hardware counters (--counters)");
      return answer;
    case K::kElsewhere:
      answer.verdict = "not measured here: needs another device or program";
      return answer;
  }
  const bool formula_only =
      claim.kind == K::kIdealRatio || claim.kind == K::kRatio || claim.kind == K::kOverheadRatio;
  const bool needs_gpu = claim.kind == K::kDecodeRate || claim.kind == K::kDecodeBandwidth ||
                         claim.kind == K::kDecodeBandwidthFraction;
  answer.verdict =
      formula_only ? formula_verdict(answer)
                   : measured_verdict(answer, needs_gpu && !measured.is_gpu ? kNeedsGpu : kNotRun);
  return answer;
}

}  // namespace

const std::vector<Claim>& notes_claims() {
  static const std::vector<Claim> claims = {
      {"B, cost model", "speed-up in theory (H 32, N 2048, D = D' = 64)", "16.0x", 16, 16,
       K::kIdealRatio, kN2048},
      {"B, cost model", "speed-up with overheads, same shape", "2.1x", 2.1, 2.1, K::kRatio, kN2048},
      {"B, cost model", "overheads over the rest, same shape", "6.6", 6.6, 6.6, K::kOverheadRatio,
       kN2048},
      {"B, table 1, row 1", "speed-up (B 1, N 1024, 32 x 64)", "1.8x", 1.8, 1.8, K::kSpeedUp,
       kN1024},
      {"B, table 1, row 2", "speed-up (1, 2048, 32, 64)", "2.1x", 2.1, 2.1, K::kSpeedUp, kN2048},
      {"B, table 1, row 3", "speed-up (1, 4096, 32, 64)", "2.3x", 2.3, 2.3, K::kSpeedUp, kN4096},
      {"B, table 1, row 4", "speed-up (4, 1024, 32, 64)", "1.9x", 1.9, 1.9, K::kSpeedUp, kB4N1024},
      {"B, table 1, row 5", "speed-up (4, 2048, 32, 64)", "2.0x", 2.0, 2.0, K::kSpeedUp, kB4N2048},
      {"B, table 1, row 1", "memory (1, 1024, 32, 64)", "2.1 GB", 2.1, 2.1, K::kMemory, kN1024},
      {"B, table 1, row 2", "memory (1, 2048, 32, 64)", "8.4 GB", 8.4, 8.4, K::kMemory, kN2048},
      {"B, table 1, row 3", "memory (1, 4096, 32, 64)", "33.6 GB", 33.6, 33.6, K::kMemory, kN4096},
      {"B, table 1, row 4", "memory (4, 1024, 32, 64)", "8.4 GB", 8.4, 8.4, K::kMemory, kB4N1024},
      {"B, table 1, row 5", "memory (4, 2048, 32, 64)", "33.6 GB", 33.6, 33.6, K::kMemory,
       kB4N2048},
      {"B, table 1", "efficiency = speed-up / heads, row 2", "2.1 / 32", 2.1 / 32, 2.1 / 32,
       K::kEfficiency, kN2048},
      {"B, table 2, row 1", "multi-head attention, ms (32, 2048, 64)", "12.5 ms", 12.5, 12.5,
       K::kMhaTime, kN2048},
      {"B, table 2, row 1", "traditional MLA, ms (32, 2048, 64)", "6.2 ms", 6.2, 6.2, K::kMlaTime,
       kN2048},
      {"B, table 2, row 2", "multi-head attention, ms (64, 2048, 64)", "25.0 ms", 25, 25,
       K::kMhaTime, kH64},
      {"B, table 2, row 2", "traditional MLA, ms (64, 2048, 64)", "10.8 ms", 10.8, 10.8,
       K::kMlaTime, kH64},
      {"B, table 2, row 2", "speed-up in theory (64, 2048, 64)", "32x", 32, 32, K::kIdealRatio,
       kH64},
      {"B, table 2, row 2", "speed-up (64, 2048, 64)", "2.3x", 2.3, 2.3, K::kSpeedUp, kH64},
      {"B, bandwidth", "GB/s that traditional MLA reaches", "180 to 220", 180, 220,
       K::kMlaBandwidth, kN2048},
      {"B, bandwidth", "of the device's bandwidth", "20 to 24 %", 0.2, 0.24,
       K::kMlaBandwidthFraction, kN2048},
      {"B, caches", "L1 hits, %", "45 %", 45, 45, K::kCounter, kN2048, Counter::kL1Hits},
      {"B, caches", "L2 hits, %", "78 %", 78, 78, K::kCounter, kN2048, Counter::kL2Hits},
      {"B, caches", "shared memory used, %", "32 %", 32, 32, K::kCounter, kN2048,
       Counter::kSharedMemoryUsed},
      {"B, utilisation", "CUDA cores, %", "35 to 45 %", 35, 45, K::kCounter, kN2048,
       Counter::kCudaCores},
      {"B, utilisation", "tensor cores, %", "10 to 20 %", 10, 20, K::kCounter, kN2048,
       Counter::kTensorCores},
      {"B, utilisation", "shared memory, %", "25 to 35 %", 25, 35, K::kCounter, kN2048,
       Counter::kSharedMemory},
      {"B, utilisation", "registers, %", "40 to 50 %", 40, 50, K::kCounter, kN2048,
       Counter::kRegistersUsed},
      {"B, instructions", "memory, %", "45 %", 45, 45, K::kCounter, kN2048,
       Counter::kMemoryInstructions},
      {"B, instructions", "floating point, %", "35 %", 35, 35, K::kCounter, kN2048,
       Counter::kFloatInstructions},
      {"B, instructions", "control, %", "15 %", 15, 15, K::kCounter, kN2048,
       Counter::kControlInstructions},
      {"B, instructions", "synchronisation, %", "5 %", 5, 5, K::kCounter, kN2048,
       Counter::kBarrierInstructions},
      {"B, architectures", "Ampere, Hopper, Ada, Turing", "1.0, 1.2, 1.1, 0.8", 0, 0,
       K::kElsewhere},
      {"A, claims", "decoding on an H800, TFLOPS (best of this run's shapes)", "660", 660, 660,
       K::kDecodeRate},
      {"A, claims", "decoding on an H800, GB/s (best of this run's shapes)", "3,000", 3000, 3000,
       K::kDecodeBandwidth},
      {"A, claims", "bandwidth used in decoding", "above 80 %", 0.8, 1,
       K::kDecodeBandwidthFraction},
      {"A, claims", "faster than its predecessor", "5 to 15 %", 0, 0, K::kElsewhere},
      {"A, claims", "overlap of CUDA cores and tensor cores", "near full", 0, 0, K::kElsewhere},
  };
  return claims;
}

std::vector<NotesShape> claim_shapes() { return {kMeasuredShapes.begin(), kMeasuredShapes.end()}; }

Setting setting_of(const NotesShape& shape, seesaw_dtype dtype) {
  Setting setting;
  setting.batch = shape.batch;
  setting.len = shape.tokens;
  setting.heads = shape.heads;
  setting.head_dim = shape.head_dim;
  setting.dtype = dtype;
  return setting;
}

std::vector<DecodeClaim> decode_claims() {
  Setting setting;
  setting.phase = Phase::kDecode;
  setting.batch = 32;
  setting.len = 32768;
  setting.head_dim = 128;
  setting.dtype = SEESAW_BFLOAT16;
  std::vector<DecodeClaim> claims;
  for (const int64_t heads : {256, 16}) {
    setting.heads = heads;
    claims.push_back({setting, {System::kDenseDecode, 512, 64}});
  }
  return claims;
}

std::vector<Contender> claim_contenders(const NotesShape& shape) {
  return {{System::kMha, 0, 0},
          {System::kTraditional, shape.latent, 0},
          {System::kChunked, shape.latent, 0}};
}

NotesShape counters_shape() { return kN2048; }

std::vector<ClaimAnswer> answer_claims(const std::vector<Row>& rows, const CountersReport& counters,
                                       seesaw_dtype dtype, bool is_gpu) {
  std::vector<ClaimAnswer> answers;
  for (const Claim& claim : notes_claims()) {
    answers.push_back(answer_one(claim, {rows, counters, dtype, is_gpu}));
  }
  return answers;
}

}  // namespace seesaw::tools
