// A case of append: tokens with rows of zeros, NaN, infinities and of very different magnitudes, a
// cache full of a byte pattern, and what of it may change.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/float16.hpp"
#include "core/cache_format.hpp"
#include "seesaw/ops/append.h"

namespace seesaw::testing {

struct AppendSpec {
  int64_t tokens = 13;
  int32_t dtype = SEESAW_BFLOAT16;
  int32_t format = SEESAW_BFLOAT16;
  int64_t d_latent = 0;  // of plain formats; 0: the default
  int64_t d_rope = 0;
  int64_t page_size = 64;
  int64_t page_gap = 0;   // bytes between pages, in elements of the cache
  int64_t token_gap = 0;  // likewise between rows
  int64_t input_gap = 0;  // elements between rows of c_kv, k_rope and q_rope
  int64_t offset = 0;     // elements before the first page
  int32_t scales = SEESAW_SCALES_POWER_OF_TWO;
  int32_t rotary = SEESAW_ROTARY_NONE;
  int64_t h_q = 3;
  int32_t cos_sin_dtype = SEESAW_FLOAT32;
  float kv_scale = 0.037F;
  bool plain_rows = false;  // N(0, 1) alone
  uint64_t seed = 1;
};

enum class Buffer {
  kCKv,
  kKRope,
  kSlots,
  kCache,
  kKvScale,
  kScales,
  kPositions,
  kCosSin,
  kQRope,
  kSaturated,
  kCount
};
inline constexpr size_t kBuffers = static_cast<size_t>(Buffer::kCount);

class AppendCase {
 public:
  static constexpr int64_t kPositions = 97;

  explicit AppendCase(const AppendSpec& spec) : spec_(spec) {
    problem_ = {.dtype = spec.dtype,
                .kv_format = spec.format,
                .tokens = spec.tokens,
                .page_size = spec.page_size,
                .scales = spec.scales,
                .rotary = spec.rotary,
                .h_q = spec.h_q,
                .cos_sin_dtype = spec.cos_sin_dtype};
    format_ = is_plain(spec.format)
                  ? plain_format(static_cast<DType>(spec.format),
                                 spec.d_latent == 0 ? 512 : spec.d_latent,
                                 spec.d_rope == 0 ? 64 : std::max<int64_t>(spec.d_rope, 0))
                  : cache_format(spec.format, 0);
    problem_.d_latent = format_.latent.count;
    problem_.d_rope = format_.rotary.count == 0 ? -1 : format_.rotary.count;
    element_ = size_of(storage_of(spec.format));
    const int64_t columns = token_elements(format_);
    token_stride_ = columns + (format_.tail_bytes > 0 ? 0 : spec.token_gap);
    const int64_t packed = format_.tail_bytes > 0 ? format_.page_bytes(spec.page_size)
                                                  : token_stride_ * spec.page_size;
    page_stride_ = packed + spec.page_gap;
    problem_.kv_token_stride = token_stride_;
    problem_.kv_page_stride = page_stride_;
    num_pages_ = (spec.tokens + spec.page_size - 1) / spec.page_size + 2;
    fill();
  }

  const AppendSpec& spec() const { return spec_; }
  const CacheFormat& format() const { return format_; }
  const seesaw_append_problem& problem() const { return problem_; }
  int64_t num_slots() const { return num_pages_ * spec_.page_size; }
  bool rotates() const { return spec_.rotary != SEESAW_ROTARY_NONE; }

  std::vector<std::byte>& bytes(Buffer buffer) { return buffers_[static_cast<size_t>(buffer)]; }
  const std::vector<std::byte>& bytes(Buffer buffer) const {
    return buffers_[static_cast<size_t>(buffer)];
  }
  template <typename T>
  T* as(Buffer buffer) {
    return reinterpret_cast<T*>(bytes(buffer).data());
  }

  // An element of c_kv, k_rope or q_rope: of row `row` in rows of `columns`.
  float get(Buffer buffer, int64_t row, int64_t columns, int64_t column) const {
    const auto i = static_cast<size_t>(row * (columns + spec_.input_gap) + column);
    const std::byte* data = bytes(buffer).data();
    switch (spec_.dtype) {
      case SEESAW_BFLOAT16:
        return to_float(reinterpret_cast<const BFloat16*>(data)[i]);
      case SEESAW_FLOAT16:
        return to_float(reinterpret_cast<const Float16*>(data)[i]);
      default:
        return reinterpret_cast<const float*>(data)[i];
    }
  }
  void set(Buffer buffer, int64_t row, int64_t columns, int64_t column, float value) {
    store(bytes(buffer).data(), spec_.dtype, row * (columns + spec_.input_gap) + column, value);
  }
  float latent(int64_t token, int64_t column) const {
    return get(Buffer::kCKv, token, problem_.d_latent, column);
  }
  void set_latent(int64_t token, int64_t column, float value) {
    set(Buffer::kCKv, token, problem_.d_latent, column, value);
  }

  // The call with its tensors in other memory, in the order of Buffer.
  seesaw_append_args args(const std::array<void*, kBuffers>& data, seesaw_device device) const {
    const auto dtype = static_cast<seesaw_dtype>(spec_.dtype);
    const int64_t t = spec_.tokens;
    const int64_t d_rope = std::max<int64_t>(problem_.d_rope, 0);
    const auto at = [&](Buffer buffer) { return data[static_cast<size_t>(buffer)]; };
    seesaw_append_args args;
    args.c_kv = make_tensor(at(Buffer::kCKv), dtype, {t, problem_.d_latent}, device);
    args.c_kv.stride[0] = problem_.d_latent + spec_.input_gap;
    if (d_rope > 0) {
      args.k_rope = make_tensor(at(Buffer::kKRope), dtype, {t, d_rope}, device);
      args.k_rope.stride[0] = d_rope + spec_.input_gap;
    }
    args.slot_mapping = make_tensor(at(Buffer::kSlots), SEESAW_INT64, {t}, device);
    args.kv_cache =
        make_tensor(static_cast<std::byte*>(at(Buffer::kCache)) + spec_.offset * element_,
                    static_cast<seesaw_dtype>(storage_of(spec_.format)),
                    {num_pages_, spec_.page_size, token_elements(format_)}, device);
    args.kv_cache.stride[0] = page_stride_;
    args.kv_cache.stride[1] = token_stride_;
    args.kv_scale = make_tensor(at(Buffer::kKvScale), SEESAW_FLOAT32, {1}, device);
    if (spec_.scales == SEESAW_SCALES_GIVEN) {
      args.scales =
          make_tensor(at(Buffer::kScales), SEESAW_FLOAT32, {t, format_.scales.count}, device);
    }
    if (rotates()) {
      args.positions = make_tensor(at(Buffer::kPositions), SEESAW_INT64, {t}, device);
      args.cos_sin =
          make_tensor(at(Buffer::kCosSin), static_cast<seesaw_dtype>(spec_.cos_sin_dtype),
                      {kPositions, d_rope}, device);
      args.q_rope = make_tensor(at(Buffer::kQRope), dtype, {t, spec_.h_q, d_rope}, device);
      args.q_rope.stride[1] = d_rope + spec_.input_gap;
      args.q_rope.stride[0] = spec_.h_q * args.q_rope.stride[1];
    }
    args.saturated = make_tensor(at(Buffer::kSaturated), SEESAW_INT64, {1}, device);
    return args;
  }
  seesaw_append_args args() {
    std::array<void*, kBuffers> data;
    for (size_t i = 0; i < kBuffers; ++i) data[i] = buffers_[i].data();
    return args(data, kCpu);
  }

  // Where a token's record begins in the cache's buffer.
  size_t row_at(int64_t slot) const {
    const int64_t page = slot / spec_.page_size * page_stride_ * element_;
    const int64_t rows = format_.tail_bytes > 0 ? format_.row_bytes : token_stride_ * element_;
    return static_cast<size_t>(spec_.offset * element_ + page + slot % spec_.page_size * rows);
  }
  size_t tail_at(int64_t slot) const {
    const int64_t page = slot / spec_.page_size * page_stride_ * element_;
    return static_cast<size_t>(spec_.offset * element_ + page +
                               spec_.page_size * format_.row_bytes +
                               slot % spec_.page_size * format_.tail_bytes);
  }

  // What the cache holds at a token's slot.
  std::vector<double> record(int64_t token) const {
    const int64_t slot = slots()[token];
    const std::byte* cache = bytes(Buffer::kCache).data();
    std::vector<double> values(static_cast<size_t>(format_.columns()));
    read_record(format_, {cache + row_at(slot), cache + tail_at(slot)},
                static_cast<double>(spec_.kv_scale), values.data());
    return values;
  }
  const int64_t* slots() const {
    return reinterpret_cast<const int64_t*>(bytes(Buffer::kSlots).data());
  }

  // "" if nothing but records at the slots has changed, padding included, else where.
  std::string changed_elsewhere() const {
    std::vector<bool> written(bytes(Buffer::kCache).size());
    for (int64_t t = 0; t < spec_.tokens; ++t) {
      const int64_t slot = slots()[t];
      if (slot < 0 || slot >= num_slots()) continue;
      for (const Segment& segment : {format_.latent, format_.rotary, format_.scales}) {
        const size_t begin = (segment.place == Place::kRow ? row_at(slot) : tail_at(slot)) +
                             static_cast<size_t>(segment.offset);
        std::fill_n(written.begin() + static_cast<std::ptrdiff_t>(begin), segment.size_bytes(),
                    true);
      }
    }
    for (size_t i = 0; i < written.size(); ++i) {
      if (!written[i] && bytes(Buffer::kCache)[i] != pattern(i)) {
        return "byte " + std::to_string(i) + " of the cache was written";
      }
    }
    return "";
  }

  // "" if the other case's call left the same bytes, else what differs.
  std::string differs_from(const AppendCase& other) const {
    constexpr std::pair<Buffer, const char*> kResults[] = {{Buffer::kCache, "kv_cache"},
                                                           {Buffer::kQRope, "q_rope"},
                                                           {Buffer::kSaturated, "saturated"}};
    for (const auto& [buffer, name] : kResults) {
      for (size_t i = 0; i < bytes(buffer).size(); ++i) {
        if (bytes(buffer)[i] != other.bytes(buffer)[i]) {
          return std::string(name) + ", byte " + std::to_string(i) + ": " +
                 std::to_string(static_cast<int>(bytes(buffer)[i])) + ", not " +
                 std::to_string(static_cast<int>(other.bytes(buffer)[i]));
        }
      }
    }
    return "";
  }

  static std::byte pattern(size_t i) { return static_cast<std::byte>((i * 73 + i / 251) % 253); }

 private:
  static void store(std::byte* data, int32_t dtype, int64_t index, float value) {
    const auto i = static_cast<size_t>(index);
    switch (dtype) {
      case SEESAW_BFLOAT16:
        reinterpret_cast<BFloat16*>(data)[i] = from_float<BFloat16>(value);
        return;
      case SEESAW_FLOAT16:
        reinterpret_cast<Float16*>(data)[i] = from_float<Float16>(value);
        return;
      default:
        reinterpret_cast<float*>(data)[i] = value;
    }
  }

  void resize(Buffer buffer, int64_t count, int64_t size) {
    bytes(buffer).assign(static_cast<size_t>(count * size), std::byte{0xFF});
  }

  // A token's number: by turns zeros, tiny, huge, with NaN of either sign and infinities.
  float number(int64_t token, int64_t column) {
    const float normal = normal_(random_);
    if (spec_.plain_rows) return normal;
    switch (token % 7) {
      case 1:
        return column % 2 == 0 ? 0.0F : -0.0F;
      case 2:
        return normal * 1e-9F;
      case 3:
        return normal * 9000.0F;
      case 4:
        return column % 129 == 5 ? std::copysign(kNaN, normal) : normal;
      case 5:
        return column % 150 == 7 ? std::copysign(kInfinity, normal) : normal;
      default:
        return normal * std::exp(4.0F * normal);
    }
  }

  void fill() {
    random_.seed(spec_.seed);
    const int64_t t = spec_.tokens;
    const int64_t size = size_of(static_cast<DType>(spec_.dtype));
    const int64_t d_rope = std::max<int64_t>(problem_.d_rope, 0);
    resize(Buffer::kCKv, t * (problem_.d_latent + spec_.input_gap), size);
    resize(Buffer::kKRope, t * (d_rope + spec_.input_gap), size);
    resize(Buffer::kQRope, t * spec_.h_q * (d_rope + spec_.input_gap), size);
    for (int64_t i = 0; i < t; ++i) {
      for (int64_t c = 0; c < problem_.d_latent; ++c) set_latent(i, c, number(i, c));
      for (int64_t c = 0; c < d_rope; ++c) set(Buffer::kKRope, i, d_rope, c, number(i, c));
    }
    for (int64_t i = 0; i < t * spec_.h_q; ++i) {
      for (int64_t c = 0; c < d_rope; ++c) set(Buffer::kQRope, i, d_rope, c, number(i, c));
    }
    fill_places();
    fill_scales();
    fill_angles(d_rope);
  }

  void fill_places() {
    resize(Buffer::kSlots, spec_.tokens, sizeof(int64_t));
    resize(Buffer::kPositions, spec_.tokens, sizeof(int64_t));
    std::vector<int64_t> slots(static_cast<size_t>(num_slots()));
    for (size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<int64_t>(i);
    std::shuffle(slots.begin(), slots.end(), random_);
    for (int64_t i = 0; i < spec_.tokens; ++i) {
      as<int64_t>(Buffer::kSlots)[i] = i % 6 == 5 ? -1 - i : slots[static_cast<size_t>(i)];
      as<int64_t>(Buffer::kPositions)[i] = i * 31 % kPositions;
    }
    resize(Buffer::kCache, spec_.offset + num_pages_ * page_stride_, element_);
    for (size_t i = 0; i < bytes(Buffer::kCache).size(); ++i) bytes(Buffer::kCache)[i] = pattern(i);
  }

  void fill_scales() {
    resize(Buffer::kScales, spec_.tokens * format_.scales.count, sizeof(float));
    for (int64_t i = 0; i < spec_.tokens * format_.scales.count; ++i) {
      as<float>(Buffer::kScales)[i] = 0.013F * std::exp(normal_(random_));  // no powers of two
    }
    resize(Buffer::kKvScale, 1, sizeof(float));
    *as<float>(Buffer::kKvScale) = spec_.kv_scale;
    resize(Buffer::kSaturated, 1, sizeof(int64_t));
    *as<int64_t>(Buffer::kSaturated) = 7;
  }

  void fill_angles(int64_t d_rope) {
    resize(Buffer::kCosSin, kPositions * d_rope, size_of(static_cast<DType>(spec_.cos_sin_dtype)));
    for (int64_t p = 0; p < kPositions; ++p) {
      for (int64_t i = 0; i < d_rope / 2; ++i) {
        const double angle =
            static_cast<double>(p) *
            std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d_rope));
        std::byte* to = bytes(Buffer::kCosSin).data();
        store(to, spec_.cos_sin_dtype, p * d_rope + i, static_cast<float>(std::cos(angle)));
        store(to, spec_.cos_sin_dtype, p * d_rope + d_rope / 2 + i,
              static_cast<float>(std::sin(angle)));
      }
    }
  }

  static constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  AppendSpec spec_;
  seesaw_append_problem problem_;
  CacheFormat format_;
  int64_t element_ = 1;  // bytes of the cache's
  int64_t token_stride_ = 0;
  int64_t page_stride_ = 0;
  int64_t num_pages_ = 0;
  std::array<std::vector<std::byte>, kBuffers> buffers_;
  std::mt19937_64 random_;
  std::normal_distribution<float> normal_;
};

inline constexpr int32_t kAllFormats[] = {
    SEESAW_FORMAT_FLOAT32,  SEESAW_FORMAT_BFLOAT16,      SEESAW_FORMAT_FLOAT16,
    SEESAW_FORMAT_FP8_656,  SEESAW_FORMAT_FP8_584,       SEESAW_FORMAT_FP8_576,
    SEESAW_FORMAT_FP8_528,  SEESAW_FORMAT_FP8_576_TOKEN, SEESAW_FORMAT_FP4_288,
    SEESAW_FORMAT_INT8_644, SEESAW_FORMAT_INDEXER_132};

// Cases that between them have every format, dtype, page size, stride, rule and rotary embedding:
// a kernel's bytes have to be the reference's.
inline std::vector<AppendSpec> append_grid() {
  std::vector<AppendSpec> specs;
  uint64_t seed = 0;
  for (const int32_t format : kAllFormats) {
    const CacheFormat of = cache_format(format, 1);
    const bool rope = is_plain(format) || of.rotary.count > 0;
    for (const int64_t page_size : {1, 16, 61, 64, 256}) {
      for (const int64_t gap : {0, 16, 5}) {
        AppendSpec spec = {.format = format,
                           .page_size = page_size,
                           .page_gap = gap,
                           .token_gap = gap,
                           .input_gap = gap,
                           .offset = gap,
                           .seed = ++seed};
        const auto turn = static_cast<int32_t>(seed);
        spec.dtype = SEESAW_FLOAT32 + turn % 3;
        spec.cos_sin_dtype = SEESAW_FLOAT32 + turn / 3 % 3;
        spec.rotary = rope ? turn % 4 % 3 : 0;
        spec.scales = of.scales.count > 0 ? turn / 2 % 3 : 0;
        spec.tokens = gap == 16 ? 21 : 9;
        specs.push_back(spec);
      }
    }
  }
  return specs;
}

inline std::string name_of(const AppendSpec& spec) {
  return "format " + std::to_string(spec.format) + ", dtype " + std::to_string(spec.dtype) +
         ", page size " + std::to_string(spec.page_size) + ", gap " +
         std::to_string(spec.page_gap) + ", scales " + std::to_string(spec.scales) + ", rotary " +
         std::to_string(spec.rotary);
}

}  // namespace seesaw::testing
