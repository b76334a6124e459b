#include "soak/decode_server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "lab/accuracy.hpp"
#include "lab/elements.hpp"
#include "lab/errors.hpp"
#include "lab/values.hpp"
#include "support/exact.hpp"

namespace seesaw::soak {
namespace {

constexpr uint64_t kStepsBetweenComparisons = 16;
constexpr uint64_t kStepsBetweenRefusals = 24;
constexpr int32_t kNoPage = INT32_MAX;

int64_t pages_of_a_sequence(const ServerShape& shape) {
  return shape.problem.max_pages_per_sequence;
}

size_t elements(std::initializer_list<int64_t> extents) {
  return static_cast<size_t>(
      std::accumulate(extents.begin(), extents.end(), int64_t{1}, std::multiplies<>()));
}

}  // namespace

ServerShape random_shape(lab::Random& random) {
  constexpr int32_t kTypes[] = {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32};
  constexpr int64_t kPageSizes[] = {1, 16, 64, 128};
  ServerShape shape;
  shape.slots = random.between(1, 6);
  shape.max_tokens = random.between(100, 900);
  const bool deepseek = random.between(0, 1) == 1;
  seesaw_dense_decode_problem& p = shape.problem;
  p.q_dtype = kTypes[random.between(0, 2)];
  p.kv_format = p.q_dtype;
  p.batch = shape.slots;
  p.s_q = random.between(1, 3);
  p.h_kv = deepseek ? 1 : random.between(1, 2);
  p.h_q = p.h_kv * random.between(1, 16);
  p.d_qk = deepseek ? 576 : random.between(8, 100);
  p.d_v = deepseek ? 512 : random.between(1, p.d_qk);
  p.page_size = kPageSizes[random.between(0, 3)];
  p.max_pages_per_sequence = (shape.max_tokens + p.page_size - 1) / p.page_size;
  p.causal = static_cast<int32_t>(random.between(0, 1));
  shape.options.num_threads = static_cast<int32_t>(random.between(1, 2));
  shape.options.batch_invariant = static_cast<int32_t>(random.between(0, 1));
  return shape;
}

DecodeServer::DecodeServer(const ServerShape& shape, uint64_t seed)
    : shape_(shape),
      seed_(seed),
      random_(seed),
      plan_(shape.problem, shape.options),
      sequences_(static_cast<size_t>(shape.slots)),
      free_pages_(static_cast<size_t>(shape.slots * pages_of_a_sequence(shape))),
      block_table_(free_pages_.size(), kNoPage),
      lengths_(static_cast<size_t>(shape.slots), 0),
      q_(elements({shape.slots, shape.problem.s_q, shape.problem.h_q, shape.problem.d_qk}) *
         lab::size_of(shape.problem.q_dtype)),
      cache_(free_pages_.size() *
                 elements({shape.problem.page_size, shape.problem.h_kv, shape.problem.d_qk}) *
                 lab::size_of(shape.problem.q_dtype),
             lab::kPoison),
      out_(elements({shape.slots, shape.problem.s_q, shape.problem.h_q, shape.problem.d_v}) *
           lab::size_of(shape.problem.q_dtype)),
      lse_(elements({shape.slots, shape.problem.h_q, shape.problem.s_q}) * sizeof(float)),
      schedule_(plan_.schedule_bytes()),
      workspace_(plan_.workspace_bytes()) {
  totals_.plans = 1;
  std::iota(free_pages_.begin(), free_pages_.end(), 0);
  random_.shuffle(&free_pages_);
  const seesaw_dense_decode_problem& p = shape_.problem;
  const auto type = static_cast<seesaw_dtype>(p.q_dtype);
  const auto pages = static_cast<int64_t>(free_pages_.size());
  args_.q = make_tensor(q_.data(), type, {p.batch, p.s_q, p.h_q, p.d_qk});
  args_.kv_cache = make_tensor(cache_.data(), type, {pages, p.page_size, p.h_kv, p.d_qk});
  args_.block_table =
      make_tensor(block_table_.data(), SEESAW_INT32, {p.batch, p.max_pages_per_sequence});
  args_.seq_lens = make_tensor(lengths_.data(), SEESAW_INT32, {p.batch});
  args_.out = make_tensor(out_.data(), type, {p.batch, p.s_q, p.h_q, p.d_v});
  args_.lse = make_tensor(lse_.data(), SEESAW_FLOAT32, {p.batch, p.h_q, p.s_q});
  args_.scale = 0.0722F;
  call_.schedule = schedule_.data();
  call_.schedule_bytes = schedule_.size();
  call_.workspace = workspace_.data();
  call_.workspace_bytes = workspace_.size();
}

void DecodeServer::step() {
  for (size_t slot = 0; slot < sequences_.size(); ++slot) {
    if (sequences_[slot].length + shape_.problem.s_q > sequences_[slot].last) {
      leave(slot);
      arrive(slot);
      continue;
    }
    for (int64_t i = 0; i < shape_.problem.s_q; ++i) {
      append_token(slot);
    }
  }
  fill_query();
  decode();
  ++steps_;
}

// With its prompt; now and then a slot stays empty for a step.
void DecodeServer::arrive(size_t slot) {
  Sequence& sequence = sequences_[slot];
  sequence.last = random_.between(0, shape_.max_tokens);
  const int64_t prompt = random_.between(0, sequence.last);
  while (sequence.length < prompt) {
    append_token(slot);
  }
}

void DecodeServer::leave(size_t slot) {
  const int64_t columns = pages_of_a_sequence(shape_);
  const size_t page_bytes = cache_.size() / block_table_.size();
  for (int64_t i = 0; i < columns; ++i) {
    int32_t& page = block_table_[slot * static_cast<size_t>(columns) + static_cast<size_t>(i)];
    if (page != kNoPage) {
      const auto at = static_cast<std::ptrdiff_t>(static_cast<size_t>(page) * page_bytes);
      std::fill_n(cache_.begin() + at, page_bytes, lab::kPoison);
      free_pages_.push_back(page);
      page = kNoPage;
    }
  }
  random_.shuffle(&free_pages_);
  sequences_[slot] = {};
  lengths_[slot] = 0;
}

void DecodeServer::append_token(size_t slot) {
  const seesaw_dense_decode_problem& p = shape_.problem;
  Sequence& sequence = sequences_[slot];
  int32_t& page = block_table_[slot * static_cast<size_t>(p.max_pages_per_sequence) +
                               static_cast<size_t>(sequence.length / p.page_size)];
  if (page == kNoPage) {
    page = free_pages_.back();
    free_pages_.pop_back();
  }
  const int64_t row = page * p.page_size + sequence.length % p.page_size;
  const int64_t width = p.h_kv * p.d_qk;
  const uint64_t token = random_.bits();
  for (int64_t i = 0; i < width; ++i) {
    lab::store_element(cache_.data(), p.q_dtype, static_cast<size_t>(row * width + i),
                       lab::draw(lab::Values::kSuite, lab::mix(token + static_cast<uint64_t>(i))));
  }
  lengths_[slot] = static_cast<int32_t>(++sequence.length);
}

void DecodeServer::fill_query() {
  const size_t count = q_.size() / lab::size_of(shape_.problem.q_dtype);
  const uint64_t step = random_.bits();
  for (size_t i = 0; i < count; ++i) {
    lab::store_element(q_.data(), shape_.problem.q_dtype, i,
                       10 * lab::draw(lab::Values::kSuite, lab::mix(step + i)));
  }
}

// A schedule for two layers, which here are the same, and so have to give the same bits.
void DecodeServer::decode() {
  plan_.prepare(args_, call_);
  ++totals_.prepares;
  totals_.pieces += plan_.pieces(call_.schedule, call_.schedule_bytes).size();
  if (steps_ % kStepsBetweenRefusals == kStepsBetweenRefusals / 2) {
    expect_refusal();
  }
  run();
  const std::vector<unsigned char> first(out_.data(), out_.data() + out_.size());
  run();
  if (!std::equal(first.begin(), first.end(), out_.data())) {
    fail("two runs gave different bits");
  }
  if (steps_ % kStepsBetweenComparisons == 0) {
    compare();
  }
}

void DecodeServer::run() {
  out_.poison();
  lse_.poison();
  workspace_.poison();
  plan_.run(args_, call_);
  ++totals_.runs;
  totals_.sequences += lengths_.size();
  totals_.kv_tokens += std::accumulate(lengths_.begin(), lengths_.end(), uint64_t{0});
  if (!out_.intact() || !lse_.intact() || !schedule_.intact() || !workspace_.intact()) {
    fail("memory next to a buffer was written");
  }
}

void DecodeServer::compare() {
  const seesaw_dense_decode_problem& p = shape_.problem;
  lab::ResultsOf<double> got;
  for (size_t i = 0; i < out_.size() / lab::size_of(p.q_dtype); ++i) {
    got.out.push_back(lab::load_element(out_.data(), p.q_dtype, i));
  }
  for (size_t i = 0; i < lse_.size() / sizeof(float); ++i) {
    got.lse.push_back(lab::load_element(lse_.data(), SEESAW_FLOAT32, i));
  }
  lab::ResultsOf<double> exact{std::vector<double>(got.out.size()),
                               std::vector<double>(got.lse.size())};
  testing::exact_dense_decode(p, args_, exact.out.data(), exact.lse.data());
  const lab::ErrorStatistics errors =
      lab::compare<double>(got, exact, lab::allowed_errors(p, args_), {p.s_q, p.h_q, p.d_v});
  if (!errors.ok()) {
    fail(errors.text());
  }
  ++totals_.compared;
  totals_.worst = std::max({totals_.worst, errors.out_of_bound.max(), errors.lse_of_bound.max()});
  totals_.worst_cosine = std::max(totals_.worst_cosine, errors.cosine);
}

// A page id of no page is refused before anything is written, and the next call is none the worse.
void DecodeServer::expect_refusal() {
  const auto longest =
      static_cast<size_t>(std::max_element(lengths_.begin(), lengths_.end()) - lengths_.begin());
  if (lengths_[longest] == 0) {
    return;
  }
  int32_t& page = block_table_[longest * static_cast<size_t>(pages_of_a_sequence(shape_))];
  const int32_t right = page;
  page = static_cast<int32_t>(block_table_.size());
  out_.poison();
  const seesaw_status status = seesaw_plan_run(plan_.get(), &args_, &call_);
  page = right;
  if (status != SEESAW_INVALID_ARGUMENT ||
      std::any_of(out_.data(), out_.data() + out_.size(),
                  [](unsigned char byte) { return byte != lab::kPoison; })) {
    fail("a wrong page id was not refused, or not before results were written");
  }
  ++totals_.refused;
}

void DecodeServer::fail(const std::string& what) const {
  throw std::runtime_error(
      fmt::format("soak: {} (server seed {}, step {}, {})", what, seed_, steps_, plan_.kernel()));
}

}  // namespace seesaw::soak
