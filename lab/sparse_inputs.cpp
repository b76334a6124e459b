#include "lab/sparse_inputs.hpp"

#include <algorithm>
#include <limits>

#include "lab/cache_records.hpp"
#include "lab/elements.hpp"

namespace seesaw::lab {
namespace {

const std::byte* address(const seesaw_tensor& tensor, int64_t element) {
  return static_cast<const std::byte*>(tensor.data) +
         element * static_cast<int64_t>(size_of(tensor.dtype));
}

int32_t int_at(const seesaw_tensor& tensor, int64_t element) {
  return *reinterpret_cast<const int32_t*>(address(tensor, element));
}

float float_at(const seesaw_tensor& tensor, int64_t element) {
  return *reinterpret_cast<const float*>(address(tensor, element));
}

// The tensor with a dimension of 1 put in at `at`.
seesaw_tensor with_one(seesaw_tensor tensor, int32_t at) {
  for (int32_t i = tensor.rank++; i > at; --i) {
    tensor.shape[i] = tensor.shape[i - 1];
    tensor.stride[i] = tensor.stride[i - 1];
  }
  tensor.shape[at] = 1;
  tensor.stride[at] = 0;
  return tensor;
}

double number_or_one(const seesaw_tensor& tensor) {
  return tensor.data == nullptr ? 1.0 : static_cast<double>(float_at(tensor, 0));
}

// What both problems have.
template <typename Problem, typename Args>
SparseInputs common(const Problem& problem, const Args& args) {
  SparseInputs inputs;
  inputs.h_q = problem.h_q;
  inputs.d_qk = problem.d_qk;
  inputs.d_v = problem.d_v;
  inputs.q_dtype = problem.q_dtype;
  inputs.lse_base = problem.lse_base;
  inputs.empty_lse = problem.empty_lse;
  inputs.scale = static_cast<double>(args.scale);
  inputs.sinks = args.sinks;
  return inputs;
}

}  // namespace

int64_t ListedCache::list_length(int64_t sequence) const {
  const int64_t topk = indices.shape[2];
  return length.data == nullptr
             ? topk
             : std::clamp<int64_t>(int_at(length, sequence * length.stride[0]), 0, topk);
}

int64_t ListedCache::slot(int64_t sequence, int64_t token, int64_t entry) const {
  const int64_t named =
      int_at(indices, sequence * indices.stride[0] + token * indices.stride[1] + entry);
  return named >= 0 && named < cache.shape[0] * page_size ? named : -1;
}

void ListedCache::read(int64_t slot, double* values) const {
  const int64_t page = slot / page_size * cache.stride[0];
  const int64_t place = slot % page_size;
  if (is_quantised(format)) {
    load_record(format,
                {const_cast<std::byte*>(address(cache, page)), page_size, cache.stride[1], place},
                scale, values);
    return;
  }
  const std::byte* row = address(cache, page + place * cache.stride[1]);
  for (int64_t c = 0; c < cache.shape[3]; ++c) {
    values[c] = static_cast<double>(load_element(row, cache.dtype, static_cast<size_t>(c)));
  }
}

const void* SparseInputs::query(int64_t sequence, int64_t token, int64_t head) const {
  return address(q, sequence * q.stride[0] + token * q.stride[1] + head * q.stride[2]);
}

double SparseInputs::sink(int64_t head) const {
  return sinks.data == nullptr ? -std::numeric_limits<double>::infinity()
                               : static_cast<double>(float_at(sinks, head * sinks.stride[0]));
}

SparseInputs sparse_inputs(const seesaw_sparse_decode_problem& problem,
                           const seesaw_sparse_decode_args& args) {
  SparseInputs inputs = common(problem, args);
  inputs.batch = args.indices.shape[0];
  inputs.s_q = problem.s_q;
  inputs.q = args.q;
  inputs.caches.push_back({problem.kv_format, problem.page_size, args.kv_cache, args.indices,
                           args.topk_length, number_or_one(args.kv_scale)});
  if (problem.extra_topk > 0) {
    inputs.caches.push_back({problem.extra_kv_format, problem.extra_page_size, args.extra_kv_cache,
                             args.extra_indices, args.extra_topk_length,
                             number_or_one(args.extra_kv_scale)});
  }
  return inputs;
}

SparseInputs sparse_inputs(const seesaw_sparse_prefill_problem& problem,
                           const seesaw_sparse_prefill_args& args) {
  SparseInputs inputs = common(problem, args);
  inputs.batch = args.indices.shape[0];
  inputs.q = with_one(args.q, 1);
  inputs.caches.push_back({problem.kv_format, 1, with_one(args.kv, 1), args.indices,
                           args.topk_length, number_or_one(args.kv_scale)});
  return inputs;
}

}  // namespace seesaw::lab
