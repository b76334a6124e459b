#include "dense_case.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "lab/accuracy_math.hpp"
#include "lab/errors.hpp"

namespace seesaw::gpu_test {
namespace {

constexpr int64_t kElementBytes = 2;
constexpr int32_t kDeadEntry = 0x7FFFFFF0;  // a block-table entry that nobody may follow

int64_t pages_of(int64_t tokens, int64_t page_size) {
  return (std::max<int64_t>(tokens, 0) + page_size - 1) / page_size;
}

seesaw_dtype dtype_of(Element element) {
  return element == Element::kBFloat16 ? SEESAW_BFLOAT16 : SEESAW_FLOAT16;
}

constexpr seesaw_device kGpu{SEESAW_CUDA, 0};

// Values like those of FlashMLA's suite: its check has to pass too.
bool in_suite(const DenseCase& c) { return c.q_sigma <= 1.0F && c.kv_sigma <= 0.1F; }

}  // namespace

std::string DenseCase::name() const {
  std::string text;
  const auto add = [&](const char* key, int64_t value) {
    text.append(text.empty() ? "" : " ").append(key).append("=").append(std::to_string(value));
  };
  add("b", b);
  add("s_q", s_q);
  add("s_k", s_k);
  add("h_q", h_q);
  add("h_kv", h_kv);
  add("d_qk", d_qk);
  add("page", page_size);
  add("varied", lengths == Lengths::kVaried);
  add("flags", flags);
  add("fp16", element == Element::kFloat16);
  return text;
}

std::vector<int32_t> make_lengths(const DenseCase& c) {
  std::vector<int32_t> lengths(static_cast<size_t>(c.b), static_cast<int32_t>(c.s_k));
  if (c.lengths == Lengths::kVaried) {
    std::mt19937_64 random(c.seed);
    std::uniform_int_distribution<int32_t> any(0, static_cast<int32_t>(c.s_k));
    std::generate(lengths.begin(), lengths.end(), [&] { return any(random); });
    lengths[random() % lengths.size()] = static_cast<int32_t>(c.s_k);
    if (c.b >= 3) {
      lengths[random() % lengths.size()] = 0;
    }
  }
  return lengths;
}

void DenseRun::place_pages(const std::vector<int32_t>& lengths) {
  lengths_ = lengths;
  std::vector<int32_t> ids(static_cast<size_t>(num_pages_));
  std::iota(ids.begin(), ids.end(), 0);
  std::mt19937_64 random(case_.seed + 1);
  std::shuffle(ids.begin(), ids.end(), random);
  block_table_.assign(lengths.size() * static_cast<size_t>(pages_per_sequence_), kDeadEntry);
  size_t next = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto pages = static_cast<size_t>(pages_of(lengths[i], case_.page_size));
    for (size_t p = 0; p < pages; ++p) {
      block_table_[i * static_cast<size_t>(pages_per_sequence_) + p] = ids.at(next++);
    }
  }
  table_.reserve(std::max<size_t>(block_table_.size(), 1) * sizeof(int32_t));
  lens_.reserve(std::max<size_t>(lengths.size(), 1) * sizeof(int32_t));
  copy_to_device(block_table_, table_.as<void>(), stream_.get());
  copy_to_device(lengths_, lens_.as<void>(), stream_.get());
}

void DenseRun::prepare(const DenseCase& c, const std::vector<int32_t>& lengths) {
  case_ = c;
  const int64_t max_tokens = std::max<int64_t>({c.max_tokens, c.s_k, 1});
  pages_per_sequence_ = pages_of(max_tokens, c.page_size);
  int64_t live_pages = 0;
  for (const int32_t length : lengths) {
    live_pages += pages_of(length, c.page_size);
  }
  num_pages_ = std::max<int64_t>(live_pages, pages_per_sequence_) + c.spare_pages;
  row_stride_q_ = c.h_q * c.d_qk + c.row_padding;
  row_stride_out_ = c.h_q * 512 + c.row_padding;
  token_stride_ = c.h_kv * c.d_qk + c.token_padding;
  place_pages(lengths);
  make_tensors();
  fill_inputs();
}

void DenseRun::change_lengths(const std::vector<int32_t>& lengths) {
  place_pages(lengths);
  fill_inputs();
}

void DenseRun::make_tensors() {
  const DenseCase& c = case_;
  const auto b = static_cast<int64_t>(lengths_.size());
  const seesaw_dtype dtype = dtype_of(c.element);
  const auto bytes = [](int64_t elements, int64_t size) {
    return static_cast<size_t>(std::max<int64_t>(elements, 1) * size);
  };
  q_.reserve(bytes(b * c.s_q * row_stride_q_, kElementBytes));
  out_.reserve(bytes(b * c.s_q * row_stride_out_, kElementBytes));
  kv_.reserve(bytes(num_pages_ * c.page_size * token_stride_, kElementBytes));
  lse_.reserve(bytes(b * c.h_q * c.s_q, sizeof(float)));
  tensors_ = {};
  tensors_.q = make_tensor(q_.as<void>(), dtype, {b, c.s_q, c.h_q, c.d_qk}, kGpu);
  tensors_.q.stride[0] = c.s_q * row_stride_q_;
  tensors_.q.stride[1] = row_stride_q_;
  tensors_.kv_cache =
      make_tensor(kv_.as<void>(), dtype, {num_pages_, c.page_size, c.h_kv, c.d_qk}, kGpu);
  tensors_.kv_cache.stride[0] = c.page_size * token_stride_;
  tensors_.kv_cache.stride[1] = token_stride_;
  tensors_.block_table =
      make_tensor(table_.as<void>(), SEESAW_INT32, {b, pages_per_sequence_}, kGpu);
  tensors_.seq_lens = make_tensor(lens_.as<void>(), SEESAW_INT32, {b}, kGpu);
  tensors_.out = make_tensor(out_.as<void>(), dtype, {b, c.s_q, c.h_q, 512}, kGpu);
  tensors_.out.stride[0] = c.s_q * row_stride_out_;
  tensors_.out.stride[1] = row_stride_out_;
  tensors_.lse = make_tensor(lse_.as<void>(), SEESAW_FLOAT32, {b, c.h_q, c.s_q}, kGpu);
  tensors_.scale = 1.0F / 24.0F;
  call_.stream = stream_.get();
}

void DenseRun::fill_inputs() {
  const DenseCase& c = case_;
  ReferenceCall& r = reference_;
  r = {};
  r.element = c.element;
  r.rounding = lab::rounding_of(dtype_of(c.element), dtype_of(c.element));
  r.batch = static_cast<int64_t>(lengths_.size());
  r.s_q = c.s_q;
  r.h_q = c.h_q;
  r.h_kv = c.h_kv;
  r.d_qk = c.d_qk;
  r.page_size = c.page_size;
  r.max_len =
      lengths_.empty() ? 0 : std::max(*std::max_element(lengths_.begin(), lengths_.end()), 0);
  r.causal = (c.flags & kCausal) != 0;
  r.lse_base2 = (c.flags & kLseBase2) != 0;
  r.empty_lse_positive = (c.flags & kEmptyLsePositive) != 0;
  r.scale = static_cast<double>(tensors_.scale);
  r.q = tensors_.q.data;
  r.kv = tensors_.kv_cache.data;
  for (int i = 0; i < 3; ++i) {
    r.q_stride[i] = tensors_.q.stride[i];
    r.kv_stride[i] = tensors_.kv_cache.stride[i];
  }
  r.block_table = table_.as<int32_t>();
  r.block_table_stride = pages_per_sequence_;
  r.seq_lens = lens_.as<int32_t>();
  kv_.poison(static_cast<size_t>(num_pages_ * c.page_size * token_stride_ * kElementBytes),
             stream_.get());
  must(launch_fill_cache(r,
                         {.seed = c.seed * 7 + 3, .sigma = c.kv_sigma, .limit = 10.0F * c.kv_sigma},
                         stream_.get()),
       "filling the cache");
  must(launch_fill(q_.as<void>(), c.element, r.batch * c.s_q * row_stride_q_,
                   {.seed = c.seed * 5 + 1, .sigma = c.q_sigma, .limit = 8.0F * c.q_sigma},
                   stream_.get()),
       "filling q");
}

seesaw_dense_decode_problem DenseRun::problem() const {
  const DenseCase& c = case_;
  return {.q_dtype = dtype_of(c.element),
          .batch = std::max<int64_t>({c.max_batch, c.b, 1}),
          .s_q = c.s_q,
          .h_q = c.h_q,
          .h_kv = c.h_kv,
          .d_qk = c.d_qk,
          .page_size = c.page_size,
          .max_pages_per_sequence = pages_per_sequence_,
          .kv_page_stride = token_stride_ * c.page_size,
          .kv_token_stride = token_stride_,
          .causal = (c.flags & kCausal) != 0,
          .lse_base = (c.flags & kLseBase2) != 0 ? SEESAW_LSE_BASE2 : SEESAW_LSE_NATURAL,
          .empty_lse = (c.flags & kEmptyLsePositive) != 0 ? SEESAW_EMPTY_LSE_POSITIVE_INFINITY
                                                          : SEESAW_EMPTY_LSE_NEGATIVE_INFINITY};
}

void DenseRun::plan(const char* kernel) {
  const DenseCase& c = case_;
  decode_ = std::make_unique<DenseDecode>(
      problem(), seesaw_options{.device = kGpu,
                                .batch_invariant = (c.flags & kBatchInvariant) != 0,
                                .check_data = (c.flags & kCheckData) != 0,
                                .kernel = kernel});
  call_.schedule_bytes = decode_->schedule_bytes();
  call_.schedule = schedule_.reserve(decode_->schedule_bytes());
  call_.workspace_bytes = decode_->workspace_bytes();
  call_.workspace = workspace_.reserve(std::max<size_t>(decode_->workspace_bytes(), 1));
  schedule_.poison(decode_->schedule_bytes(), stream_.get());
}

void DenseRun::schedule() { decode_->prepare(tensors_, call_); }

void DenseRun::run() { decode_->run(tensors_, call_); }

void DenseRun::poison_results() {
  const int64_t rows = static_cast<int64_t>(lengths_.size()) * case_.s_q;
  out_.poison(static_cast<size_t>(rows * row_stride_out_ * kElementBytes), stream_.get());
  lse_.poison(static_cast<size_t>(rows * case_.h_q) * sizeof(float), stream_.get());
  workspace_.poison(decode_->workspace_bytes(), stream_.get());
}

Difference DenseRun::compare() {
  ReferenceCall& r = reference_;
  r.scores = static_cast<double*>(
      scores_.reserve(static_cast<size_t>(std::max<int64_t>(reference_scratch_bytes(r), 8))));
  const int64_t rows = std::max<int64_t>(r.batch * r.s_q * r.h_q, 1);
  r.out = static_cast<double*>(
      reference_out_.reserve(static_cast<size_t>(rows * r.d_v) * sizeof(double)));
  r.lse = static_cast<double*>(reference_lse_.reserve(static_cast<size_t>(rows) * sizeof(double)));
  r.allowed_out = static_cast<double*>(
      allowed_out_.reserve(static_cast<size_t>(rows * r.d_v) * sizeof(double)));
  r.rows = static_cast<RowAllowed*>(
      allowed_rows_.reserve(static_cast<size_t>(rows) * sizeof(RowAllowed)));
  auto* difference = static_cast<Difference*>(difference_.reserve(sizeof(Difference)));
  must(launch_reference(r, stream_.get()), "launching the reference");
  const int64_t out_stride[3] = {tensors_.out.stride[0], tensors_.out.stride[1],
                                 tensors_.out.stride[2]};
  const int64_t lse_stride[3] = {tensors_.lse.stride[0], tensors_.lse.stride[1],
                                 tensors_.lse.stride[2]};
  must(
      launch_compare(r, tensors_.out.data, out_stride, static_cast<const float*>(tensors_.lse.data),
                     lse_stride, difference, stream_.get()),
      "comparing");
  return copy_to_host<Difference>(difference, 1, stream_.get())[0];
}

std::vector<uint16_t> DenseRun::out_bits() const {
  const size_t count = lengths_.size() * static_cast<size_t>(case_.s_q * row_stride_out_);
  return copy_to_host<uint16_t>(out_.as<void>(), count, stream_.get());
}

std::vector<float> DenseRun::lse() const {
  const size_t count = lengths_.size() * static_cast<size_t>(case_.s_q * case_.h_q);
  return copy_to_host<float>(lse_.as<void>(), count, stream_.get());
}

std::string verdict(const DenseCase& c, const Difference& difference) {
  std::string text;
  if (difference.out_failures > 0) {
    text += " out: " + std::to_string(difference.out_failures) + " elements out of bounds, first " +
            std::to_string(difference.first_out_failure) + ", largest error " +
            std::to_string(difference.max_out_error);
  }
  if (difference.lse_failures > 0) {
    text += " lse: " + std::to_string(difference.lse_failures) + " entries out of bounds, first " +
            std::to_string(difference.first_lse_failure);
  }
  if (!in_suite(c)) {
    return text.empty() ? text : c.name() + ":" + text;
  }
  if (difference.suite_failures > 0) {
    text += " suite: " + std::to_string(difference.suite_failures) + " elements out of its bounds";
  }
  if (difference.sum_squares > 0.0) {
    const double distance = 1.0 - 2.0 * difference.sum_product / difference.sum_squares;
    if (!(distance <= lab::FlashMlaSuite{}.cosine)) {
      text += " suite: cosine distance " + std::to_string(distance);
    }
  }
  return text.empty() ? text : c.name() + ":" + text;
}

}  // namespace seesaw::gpu_test
