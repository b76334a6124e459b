#include "decode_case.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "lab/roofs/gpu_roofs.hpp"

namespace seesaw::bench {
namespace {

constexpr int64_t kDqk = 576;
constexpr int64_t kDv = 512;
constexpr seesaw_device kGpu{SEESAW_CUDA, 0};
constexpr int64_t kMostTurns = 256;

int64_t pages_of(int64_t tokens, int64_t page_size) { return (tokens + page_size - 1) / page_size; }

}  // namespace

std::string DecodeCase::name() const {
  std::string text;
  const auto add = [&](const char* key, int64_t value) {
    text.append(text.empty() ? "" : ".").append(key).append(std::to_string(value));
  };
  add("b", b);
  add("sq", s_q);
  add("h", h_q);
  add("s", s_k);
  if (h_kv > 1) {
    add("kv", h_kv);
  }
  if (page_size != 64) {
    add("page", page_size);
  }
  text += dtype == SEESAW_FLOAT16 ? ".fp16" : "";
  text += varied ? ".var" : "";
  text += causal ? ".causal" : "";
  return text;
}

std::vector<DecodeCase> table_cases() {
  std::vector<DecodeCase> cases;
  for (const int64_t s_k : {4096, 8192, 16384, 32768}) {
    for (const int64_t s_q : {1, 2}) {
      const bool sustained = s_k == 8192 || s_k == 32768;
      cases.push_back({.b = 128, .s_q = s_q, .s_k = s_k, .varied = true, .sustained = sustained});
    }
  }
  cases.push_back({.b = 128, .s_q = 2, .s_k = 8192});
  cases.push_back({.b = 128, .s_q = 1, .s_k = 8192, .sustained = true});
  cases.push_back({.b = 128, .s_q = 2, .s_k = 8192, .varied = true, .causal = true});
  cases.push_back({.b = 128, .s_q = 1, .s_k = 1024});
  for (const int64_t h_q : {16, 32, 64}) {
    cases.push_back({.b = 128, .h_q = h_q, .s_k = 8192, .sustained = h_q != 32});
  }
  cases.push_back({.b = 128, .s_q = 2, .h_q = 16, .s_k = 1024});
  cases.push_back({.b = 32, .s_q = 4, .h_q = 16, .s_k = 4096});
  for (const int64_t b : {1, 4, 16, 64}) {
    for (const int64_t s_k : {1024, 8192, 65536}) {
      for (const int64_t h_q : {128, 16}) {
        cases.push_back({.b = b, .h_q = h_q, .s_k = s_k});
      }
    }
  }
  return cases;
}

std::vector<int32_t> lengths_of(const DecodeCase& c) {
  std::vector<int32_t> lengths(static_cast<size_t>(c.b), static_cast<int32_t>(c.s_k));
  if (c.varied) {
    std::mt19937_64 random(0);
    std::normal_distribution<double> normal(static_cast<double>(c.s_k),
                                            static_cast<double>(c.s_k) / 2.0);
    for (int32_t& length : lengths) {
      length = static_cast<int32_t>(std::max(normal(random), static_cast<double>(c.s_q)));
    }
  }
  return lengths;
}

Work work_of(const DecodeCase& c) {
  const std::vector<int32_t> lengths = lengths_of(c);
  const double tokens = std::accumulate(lengths.begin(), lengths.end(), 0.0);
  const auto rows = static_cast<double>(c.s_q * c.h_q);
  Work work;
  work.flops = 2.0 * rows * tokens * static_cast<double>(kDqk + kDv);
  work.bytes = 2.0 * (tokens * static_cast<double>(c.h_kv * kDqk) +
                      static_cast<double>(c.b) * rows * static_cast<double>(kDqk + kDv));
  return work;
}

Pool::Pool(int64_t bytes, cudaStream_t stream)
    : bytes_(bytes), memory_(static_cast<size_t>(bytes)) {
  must(launch_normal_fill(data(), bytes / 2, 0.1F, false, 11, stream), "filling the pool");
}

void DecodeRun::place_pages(const DecodeCase& c, const std::vector<int32_t>& lengths,
                            int64_t pool_pages, int64_t rotation_bytes) {
  const int64_t columns = pages_of(*std::max_element(lengths.begin(), lengths.end()), c.page_size);
  int64_t live = 0;
  for (const int32_t length : lengths) {
    live += pages_of(length, c.page_size);
  }
  const int64_t turn_bytes = live * c.page_size * c.h_kv * kDqk * 2;
  const int64_t wanted = (rotation_bytes + turn_bytes - 1) / turn_bytes;
  rotation_ = static_cast<int>(
      std::clamp<int64_t>(wanted, 1, std::min<int64_t>(kMostTurns, pool_pages / live)));
  table_elements_ = c.b * columns;
  std::vector<int32_t> ids(static_cast<size_t>(pool_pages));
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), std::mt19937_64(1));
  std::vector<int32_t> table(static_cast<size_t>(table_elements_ * rotation_));
  size_t next = 0;
  for (int64_t row = 0; row < c.b * rotation_; ++row) {
    const int64_t pages = pages_of(lengths[static_cast<size_t>(row % c.b)], c.page_size);
    for (int64_t page = 0; page < pages; ++page) {
      table[static_cast<size_t>(row * columns + page)] = ids.at(next++);
    }
  }
  table_.reserve(table.size() * sizeof(int32_t));
  copy_to_device(table, table_.as<void>(), stream_);
  tensors_.block_table = make_tensor(table_.as<void>(), SEESAW_INT32, {c.b, columns}, kGpu);
}

DecodeRun::DecodeRun(const DecodeCase& c, const Pool& pool, int64_t rotation_bytes,
                     cudaStream_t stream)
    : stream_(stream) {
  const std::vector<int32_t> lengths = lengths_of(c);
  const int64_t pool_pages = pool.bytes() / (c.page_size * c.h_kv * kDqk * 2);
  place_pages(c, lengths, pool_pages, rotation_bytes);
  lens_.reserve(lengths.size() * sizeof(int32_t));
  copy_to_device(lengths, lens_.as<void>(), stream);
  const int64_t rows = c.b * c.s_q * c.h_q;
  q_.reserve(static_cast<size_t>(rows * kDqk * 2));
  out_.reserve(static_cast<size_t>(rows * kDv * 2));
  lse_.reserve(static_cast<size_t>(rows) * sizeof(float));
  must(launch_normal_fill(q_.as<void>(), rows * kDqk, 0.1F, c.dtype == SEESAW_FLOAT16, 3, stream),
       "filling q");
  decode_ = std::make_unique<DenseDecode>(
      seesaw_dense_decode_problem{.q_dtype = c.dtype,
                                  .batch = c.b,
                                  .s_q = c.s_q,
                                  .h_q = c.h_q,
                                  .h_kv = c.h_kv,
                                  .page_size = c.page_size,
                                  .max_pages_per_sequence = tensors_.block_table.shape[1],
                                  .causal = c.causal ? 1 : 0},
      seesaw_options{.device = kGpu});
  tensors_.q = make_tensor(q_.as<void>(), c.dtype, {c.b, c.s_q, c.h_q, kDqk}, kGpu);
  tensors_.kv_cache =
      make_tensor(pool.data(), c.dtype, {pool_pages, c.page_size, c.h_kv, kDqk}, kGpu);
  tensors_.seq_lens = make_tensor(lens_.as<void>(), SEESAW_INT32, {c.b}, kGpu);
  tensors_.out = make_tensor(out_.as<void>(), c.dtype, {c.b, c.s_q, c.h_q, kDv}, kGpu);
  tensors_.lse = make_tensor(lse_.as<void>(), SEESAW_FLOAT32, {c.b, c.h_q, c.s_q}, kGpu);
  tensors_.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(kDqk)));
  call_.schedule_bytes = decode_->schedule_bytes();
  call_.schedule = schedule_.reserve(decode_->schedule_bytes());
  call_.workspace_bytes = decode_->workspace_bytes();
  call_.workspace = workspace_.reserve(std::max<size_t>(decode_->workspace_bytes(), 1));
  call_.stream = stream;
}

void DecodeRun::schedule() const { decode_->prepare(tensors_, call_); }

void DecodeRun::run(int call) const {
  seesaw_dense_decode_args tensors = tensors_;
  tensors.block_table.data =
      static_cast<int32_t*>(tensors_.block_table.data) + call % rotation_ * table_elements_;
  decode_->run(tensors, call_);
}

seesaw_dense_decode_args DecodeRun::layer_args(int layer) const {
  seesaw_dense_decode_args tensors = tensors_;
  seesaw_tensor& cache = tensors.kv_cache;
  cache.data = static_cast<uint16_t*>(cache.data) + layer * cache.stride[0];
  cache.shape[0] -= kLayers;  // a page id beyond it reads zeros
  return tensors;
}

}  // namespace seesaw::bench
