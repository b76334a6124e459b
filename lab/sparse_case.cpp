#include "lab/sparse_case.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <climits>
#include <stdexcept>
#include <unordered_set>

#include "lab/elements.hpp"
#include "lab/random.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::lab {
namespace {

size_t to_size(int64_t value) { return static_cast<size_t>(value); }

std::string cache_text(const SparseCacheSpec& spec) {
  return fmt::format("{} topk {} pages {} of {}{}", format_name(spec.format), spec.topk, spec.pages,
                     spec.page_size,
                     spec.lengths.empty() ? "" : fmt::format(" lengths {}", spec.lengths));
}

}  // namespace

std::string describe(const SparseSpec& spec) {
  return fmt::format(
      "b {} s_q {} h_q {} d_qk {} d_v {} dtype {} cache {}{} strangers {} sinks {} scale {} seed "
      "{} "
      "values {}",
      spec.batch, spec.s_q, spec.h_q, spec.d_qk, spec.d_v, spec.q_dtype, cache_text(spec.cache),
      spec.extra.topk > 0 ? " extra " + cache_text(spec.extra) : "",
      static_cast<int>(spec.strangers), spec.sinks.size(), spec.scale, spec.seed,
      name_of(spec.values));
}

SparseCase::SparseCase(const SparseSpec& spec) : spec_(spec) {
  fill_query();
  caches_.resize(has_extra() ? 2 : 1);
  make_cache(0, spec.cache);
  if (has_extra()) {
    make_cache(1, spec.extra);
  }
}

void SparseCase::make_cache(size_t cache, const SparseCacheSpec& spec) {
  Memory& memory = caches_[cache];
  memory.spec = spec;
  const int64_t columns = token_columns(spec.format, spec_.d_qk);
  memory.token_stride = columns + spec.token_gap;
  const int64_t page =
      is_quantised(spec.format)
          ? std::max(spec.page_size * memory.token_stride,
                     page_span(spec.format, spec.page_size, 1, memory.token_stride))
          : spec.page_size * memory.token_stride;
  memory.page_stride = page + spec.page_gap;
  memory.pool.assign(to_size(spec.pages * memory.page_stride * column_bytes(spec.format)),
                     std::byte{kPoison});
  memory.lengths = spec.lengths;
  if (!memory.lengths.empty() && memory.lengths.size() != to_size(spec_.batch)) {
    throw std::invalid_argument("a SparseCacheSpec with other lengths than sequences");
  }
  choose_slots(cache);
  fill_tokens(cache);
}

int64_t SparseCase::list_length(const Memory& memory, int64_t sequence) const {
  return memory.lengths.empty()
             ? memory.spec.topk
             : std::clamp<int64_t>(memory.lengths[to_size(sequence)], 0, memory.spec.topk);
}

// Distinct slots in random order (again from the first where there are fewer than entries), then
// some of them twice, and strangers.
void SparseCase::choose_slots(size_t cache) {
  Memory& memory = caches_[cache];
  const int64_t slots = memory.spec.pages * memory.spec.page_size;
  const int64_t topk = memory.spec.topk;
  memory.indices.assign(entry_index(memory, spec_.batch, 0, 0), INT_MAX);
  Random random(mix(spec_.seed * 4 + 1, cache));
  const int32_t beyond[] = {-1, INT_MAX, INT_MIN, static_cast<int32_t>(slots), -2};
  const auto share = [&](double part) {
    return static_cast<double>(random.between(0, 999)) < part * 1000;
  };
  std::vector<int32_t> order(to_size(slots));
  for (int64_t i = 0; i < spec_.batch * spec_.s_q; ++i) {
    for (int64_t s = 0; s < slots; ++s) {
      order[to_size(s)] = static_cast<int32_t>(s);
    }
    random.shuffle(&order);
    int32_t* list = memory.indices.data() + entry_index(memory, i / spec_.s_q, i % spec_.s_q, 0);
    for (int64_t e = 0; e < topk; ++e) {
      list[e] = slots == 0 ? -1 : order[to_size(e % slots)];
      if (e > 0 && share(spec_.duplicate_share)) {
        list[e] = list[random.between(0, e - 1)];
      }
      if (spec_.strangers != Strangers::kNone && share(spec_.stranger_share)) {
        list[e] = spec_.strangers == Strangers::kMinusOne ? -1 : beyond[random.between(0, 4)];
      }
      if (e >= list_length(memory, i / spec_.s_q) && share(0.5)) {
        list[e] = beyond[random.between(0, 4)];  // the others are slots, most of them of NaN
      }
    }
  }
}

void SparseCase::fill_tokens(size_t cache) {
  Memory& memory = caches_[cache];
  std::unordered_set<int32_t> live;
  for (int64_t i = 0; i < spec_.batch; ++i) {
    for (int64_t token = 0; token < spec_.s_q; ++token) {
      for (int64_t e = 0; e < list_length(memory, i); ++e) {
        live.insert(slot(cache, i, token, e));
      }
    }
  }
  std::vector<float> values(to_size(spec_.d_qk));
  for (const int32_t slot : live) {
    if (slot < 0 || slot >= memory.spec.pages * memory.spec.page_size) {
      continue;
    }
    const uint64_t key = mix(mix(spec_.seed * 4 + 2, cache), static_cast<uint64_t>(slot));
    for (int64_t c = 0; c < spec_.d_qk; ++c) {
      const float drawn = draw(spec_.values, mix(key + static_cast<uint64_t>(c)));
      values[to_size(c)] = key_element(spec_.values, drawn, {slot, c, spec_.d_v});
    }
    write_token(cache, slot, values.data());
  }
}

void SparseCase::fill_query() {
  const int64_t rows = spec_.batch * spec_.s_q * spec_.h_q;
  query_.assign(to_size(rows * (spec_.d_qk + spec_.q_gap)) * size_of(spec_.q_dtype),
                std::byte{kPoison});
  for (int64_t r = 0; r < rows; ++r) {
    const uint64_t row = mix(spec_.seed * 4, static_cast<uint64_t>(r));
    for (int64_t c = 0; c < spec_.d_qk; ++c) {
      const float drawn = draw(spec_.values, mix(row + static_cast<uint64_t>(c)));
      const float value = query_element(spec_.values, drawn, {0, c, spec_.d_v});
      set_query(r / spec_.h_q / spec_.s_q, r / spec_.h_q % spec_.s_q, r % spec_.h_q, c,
                spec_.query_magnitude * value);
    }
  }
}

size_t SparseCase::entry_index(const Memory& memory, int64_t sequence, int64_t token,
                               int64_t entry) const {
  return to_size((sequence * spec_.s_q + token) * (memory.spec.topk + spec_.list_gap) + entry);
}

void SparseCase::set_slot(size_t cache, int64_t sequence, int64_t token, int64_t entry,
                          int32_t slot) {
  Memory& memory = caches_[cache];
  memory.indices[entry_index(memory, sequence, token, entry)] = slot;
}

int32_t SparseCase::slot(size_t cache, int64_t sequence, int64_t token, int64_t entry) const {
  const Memory& memory = caches_[cache];
  return memory.indices[entry_index(memory, sequence, token, entry)];
}

void SparseCase::set_length(size_t cache, int64_t sequence, int32_t length) {
  caches_[cache].lengths.at(to_size(sequence)) = length;
}

void SparseCase::set_query(int64_t sequence, int64_t token, int64_t head, int64_t column,
                           float value) {
  const int64_t row = (sequence * spec_.s_q + token) * spec_.h_q + head;
  store_element(query_.data(), spec_.q_dtype, to_size(row * (spec_.d_qk + spec_.q_gap) + column),
                value);
}

void SparseCase::write_token(size_t cache, int64_t slot, const float* values) {
  Memory& memory = caches_[cache];
  const SparseCacheSpec& spec = memory.spec;
  if (!is_quantised(spec.format)) {
    for (int64_t c = 0; c < spec_.d_qk; ++c) {
      set_key(cache, slot, c, values[c]);
    }
    return;
  }
  store_record(spec.format, values, usual_scale_rule(spec.format), spec.scale,
               {memory.pool.data() + slot / spec.page_size * memory.page_stride, spec.page_size,
                memory.token_stride, slot % spec.page_size});
}

void SparseCase::set_key(size_t cache, int64_t slot, int64_t column, float value) {
  Memory& memory = caches_[cache];
  const int64_t page_size = memory.spec.page_size;
  store_element(memory.pool.data(), memory.spec.format,
                to_size(slot / page_size * memory.page_stride +
                        slot % page_size * memory.token_stride + column),
                value);
}

seesaw_sparse_decode_problem SparseCase::problem() const {
  seesaw_sparse_decode_problem problem{
      .q_dtype = spec_.q_dtype,
      .kv_format = spec_.cache.format,
      .batch = std::max<int64_t>(std::max(spec_.planned_batch, spec_.batch), 1),
      .s_q = spec_.s_q,
      .h_q = spec_.h_q,
      .h_kv = 1,
      .d_qk = spec_.d_qk,
      .d_v = spec_.d_v,
      .topk = spec_.cache.topk,
      .page_size = spec_.cache.page_size,
      .kv_page_stride = caches_[0].page_stride,
      .kv_token_stride = caches_[0].token_stride,
      .lse_base = spec_.lse_base,
      .empty_lse = spec_.empty_lse};
  if (has_extra()) {
    problem.extra_topk = spec_.extra.topk;
    problem.extra_page_size = spec_.extra.page_size;
    problem.extra_kv_page_stride = caches_[1].page_stride;
    problem.extra_kv_token_stride = caches_[1].token_stride;
    problem.extra_kv_format = spec_.extra.format;
  }
  return problem;
}

seesaw_sparse_prefill_problem SparseCase::prefill_problem() const {
  if (spec_.s_q != 1 || spec_.cache.page_size != 1 || has_extra()) {
    throw std::invalid_argument("a SparseSpec that is no prefill");
  }
  return {.q_dtype = spec_.q_dtype,
          .kv_format = spec_.cache.format,
          .s_q = std::max<int64_t>(std::max(spec_.planned_batch, spec_.batch), 1),
          .h_q = spec_.h_q,
          .h_kv = 1,
          .d_qk = spec_.d_qk,
          .d_v = spec_.d_v,
          .topk = spec_.cache.topk,
          .kv_token_stride = caches_[0].page_stride,
          .lse_base = spec_.lse_base,
          .empty_lse = spec_.empty_lse};
}

seesaw_options SparseCase::options(const char* kernel, int32_t threads) const {
  return {.num_threads = threads,
          .batch_invariant = spec_.batch_invariant ? 1 : 0,
          .kernel = *kernel == '\0' ? nullptr : kernel};
}

seesaw_tensor SparseCase::cache_tensor(const Memory& memory) const {
  const SparseCacheSpec& spec = memory.spec;
  const auto dtype =
      is_quantised(spec.format) ? SEESAW_UINT8 : static_cast<seesaw_dtype>(spec.format);
  seesaw_tensor tensor =
      make_tensor(memory.pool.data(), dtype,
                  {spec.pages, spec.page_size, 1, token_columns(spec.format, spec_.d_qk)});
  tensor.stride[0] = memory.page_stride;
  tensor.stride[1] = memory.token_stride;
  return tensor;
}

seesaw_tensor SparseCase::indices_tensor(const Memory& memory) const {
  seesaw_tensor tensor =
      make_tensor(memory.indices.data(), SEESAW_INT32, {spec_.batch, spec_.s_q, memory.spec.topk});
  tensor.stride[1] = memory.spec.topk + spec_.list_gap;
  tensor.stride[0] = spec_.s_q * tensor.stride[1];
  return tensor;
}

seesaw_tensor SparseCase::lengths_tensor(const Memory& memory) const {
  return memory.lengths.empty() ? seesaw_tensor{}
                                : make_tensor(memory.lengths.data(), SEESAW_INT32, {spec_.batch});
}

seesaw_sparse_decode_args SparseCase::inputs() const {
  seesaw_sparse_decode_args args;
  args.q = make_tensor(query_.data(), static_cast<seesaw_dtype>(spec_.q_dtype),
                       {spec_.batch, spec_.s_q, spec_.h_q, spec_.d_qk});
  args.q.stride[2] = spec_.d_qk + spec_.q_gap;
  args.q.stride[1] = spec_.h_q * args.q.stride[2];
  args.q.stride[0] = spec_.s_q * args.q.stride[1];
  args.kv_cache = cache_tensor(caches_[0]);
  args.indices = indices_tensor(caches_[0]);
  args.topk_length = lengths_tensor(caches_[0]);
  if (spec_.cache.format == SEESAW_FORMAT_FP8_576) {
    args.kv_scale = make_tensor(&spec_.cache.scale, SEESAW_FLOAT32, {1});
  }
  if (!spec_.sinks.empty()) {
    args.sinks = make_tensor(spec_.sinks.data(), SEESAW_FLOAT32, {spec_.h_q});
  }
  if (has_extra()) {
    args.extra_kv_cache = cache_tensor(caches_[1]);
    args.extra_indices = indices_tensor(caches_[1]);
    args.extra_topk_length = lengths_tensor(caches_[1]);
    if (spec_.extra.format == SEESAW_FORMAT_FP8_576) {
      args.extra_kv_scale = make_tensor(&spec_.extra.scale, SEESAW_FLOAT32, {1});
    }
  }
  args.scale = spec_.scale;
  return args;
}

seesaw_sparse_prefill_args SparseCase::prefill_inputs() const {
  const seesaw_sparse_decode_args decode = inputs();
  // A dimension of 1 is in the way.
  const auto without = [](seesaw_tensor tensor, int32_t dimension) {
    for (int32_t i = dimension; i + 1 < tensor.rank; ++i) {
      tensor.shape[i] = tensor.shape[i + 1];
      tensor.stride[i] = tensor.stride[i + 1];
    }
    --tensor.rank;
    return tensor;
  };
  seesaw_sparse_prefill_args args;
  args.q = without(decode.q, 1);
  args.kv = without(decode.kv_cache, 1);
  args.indices = decode.indices;
  args.topk_length = decode.topk_length;
  args.sinks = decode.sinks;
  args.kv_scale = decode.kv_scale;
  args.scale = decode.scale;
  return args;
}

seesaw_tensor SparseCase::out_tensor(void* data) const {
  seesaw_tensor tensor = make_tensor(data, static_cast<seesaw_dtype>(spec_.q_dtype),
                                     {spec_.batch, spec_.s_q, spec_.h_q, spec_.d_v});
  tensor.stride[2] = spec_.d_v + spec_.out_gap;
  tensor.stride[1] = spec_.h_q * tensor.stride[2];
  tensor.stride[0] = spec_.s_q * tensor.stride[1];
  return tensor;
}

seesaw_tensor SparseCase::numbers_tensor(void* data) const {
  return make_tensor(data, SEESAW_FLOAT32, {spec_.batch, spec_.h_q, spec_.s_q});
}

size_t SparseCase::out_bytes() const {
  return to_size(spec_.batch * spec_.s_q * spec_.h_q * (spec_.d_v + spec_.out_gap)) *
         size_of(spec_.q_dtype);
}

size_t SparseCase::numbers_bytes() const {
  return to_size(spec_.batch * spec_.h_q * spec_.s_q) * sizeof(float);
}

}  // namespace seesaw::lab
