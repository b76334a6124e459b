#include "cache_convert.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lab/cache_records.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {
namespace {

seesaw_dtype storage_of(int32_t format) {
  return is_quantised(format) ? SEESAW_UINT8 : static_cast<seesaw_dtype>(format);
}

seesaw_tensor on_cpu(seesaw_tensor tensor) {
  tensor.device = kCpu;
  return tensor;
}

// Without the dimension of KV heads.
seesaw_tensor without_heads(const seesaw_tensor& cache) {
  seesaw_tensor tensor = cache;
  tensor.rank = 3;
  tensor.shape[2] = cache.shape[3];
  tensor.stride[2] = cache.stride[3];
  tensor.device = kCpu;
  return tensor;
}

seesaw_append_problem writing(const Conversion& to, int64_t page_size) {
  const int64_t d_rope = to.columns - to.d_latent;
  return {.dtype = SEESAW_FLOAT32,
          .kv_format = to.format,
          .tokens = page_size,
          .d_latent = to.d_latent,
          .d_rope = d_rope == 0 ? -1 : d_rope,
          .page_size = page_size,
          .kv_page_stride = page_size * to.token_elements,
          .scales = to.scales};
}

seesaw_gather_problem reading_back(const Conversion& to, int64_t page_size) {
  return {.kv_format = to.format,
          .out_dtype = SEESAW_FLOAT32,
          .rows = page_size,
          .columns = to.columns,
          .page_size = page_size,
          .kv_page_stride = page_size * to.token_elements};
}

}  // namespace

void Loss::add(double before, double after) {
  const double error = std::fabs(after - before);
  ++numbers;
  largest_error = std::max(largest_error, error);
  if (before != 0.0) {
    largest_relative_error = std::max(largest_relative_error, error / std::fabs(before));
  }
  squared_errors += error * error;
  squares += before * before;
}

double Loss::rms() const {
  return numbers == 0 ? 0.0 : std::sqrt(squared_errors / static_cast<double>(numbers));
}

double Loss::relative_rms() const {
  return squares == 0.0 ? 0.0 : std::sqrt(squared_errors / squares);
}

PageConverter::PageConverter(const seesaw_dense_decode_problem& problem,
                             const seesaw_dense_decode_args& inputs, const Conversion& conversion)
    : conversion_(conversion),
      page_size_(problem.page_size),
      source_(without_heads(inputs.kv_cache)),
      source_scale_(on_cpu(inputs.kv_scale)),
      reader_(reader_of(problem)),
      writer_(writing(conversion, problem.page_size)),
      new_reader_(reading_back(conversion, problem.page_size)),
      page_(static_cast<size_t>(problem.page_size * conversion.token_elements *
                                column_bytes(conversion.format))),
      before_(static_cast<size_t>(problem.page_size * conversion.columns)),
      after_(before_.size()),
      slots_(static_cast<size_t>(problem.page_size)),
      own_slots_(slots_.size()) {
  std::iota(own_slots_.begin(), own_slots_.end(), 0);
}

Gather PageConverter::reader_of(const seesaw_dense_decode_problem& problem) const {
  return Gather({.kv_format = problem.kv_format,
                 .out_dtype = SEESAW_FLOAT32,
                 .rows = problem.page_size,
                 .columns = problem.d_qk,
                 .page_size = problem.page_size,
                 .kv_page_stride = source_.stride[0],
                 .kv_token_stride = source_.stride[1]});
}

const std::vector<std::byte>& PageConverter::convert(int64_t page) {
  std::iota(slots_.begin(), slots_.end(), page * page_size_);
  const int64_t columns = conversion_.columns;
  const seesaw_tensor rows = make_tensor(before_.data(), SEESAW_FLOAT32, {page_size_, columns});
  reader_.run({.kv_cache = source_,
               .slots = make_tensor(slots_.data(), SEESAW_INT64, {page_size_}),
               .kv_scale = source_scale_,
               .out = rows},
              {});
  seesaw_tensor latent = rows;
  latent.shape[1] = conversion_.d_latent;
  seesaw_tensor rotary = rows;
  rotary.shape[1] = columns - conversion_.d_latent;
  rotary.data = columns == conversion_.d_latent ? nullptr : before_.data() + conversion_.d_latent;
  if (rotary.data == nullptr) {
    rotary = {};
  }
  writer_.run({.c_kv = latent,
               .k_rope = rotary,
               .slot_mapping = make_tensor(own_slots_.data(), SEESAW_INT64, {page_size_}),
               .kv_cache = make_tensor(page_.data(), storage_of(conversion_.format),
                                       {1, page_size_, conversion_.token_elements}),
               .kv_scale = make_tensor(&conversion_.kv_scale, SEESAW_FLOAT32, {1}),
               .saturated = make_tensor(&saturated_, SEESAW_INT64, {1})},
              {});
  read_new_page();
  return page_;
}

void PageConverter::read_new_page() {
  new_reader_.run(
      {.kv_cache = make_tensor(page_.data(), storage_of(conversion_.format),
                               {1, page_size_, conversion_.token_elements}),
       .slots = make_tensor(own_slots_.data(), SEESAW_INT64, {page_size_}),
       .kv_scale = make_tensor(&conversion_.kv_scale, SEESAW_FLOAT32, {1}),
       .out = make_tensor(after_.data(), SEESAW_FLOAT32, {page_size_, conversion_.columns})},
      {});
}

void PageConverter::add_loss(int64_t tokens, Loss* loss) const {
  const auto count = static_cast<size_t>(tokens * conversion_.columns);
  for (size_t i = 0; i < count; ++i) {
    loss->add(before_[i], after_[i]);
  }
}

float PageConverter::largest_before(int64_t tokens) const {
  float largest = 0.0F;
  for (size_t i = 0; i < static_cast<size_t>(tokens * conversion_.columns); ++i) {
    const float magnitude = std::fabs(before_[i]);
    largest = std::isfinite(magnitude) ? std::max(largest, magnitude) : largest;
  }
  return largest;
}

}  // namespace seesaw::tools
