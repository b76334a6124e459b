#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>

#include "device_reference.hpp"
#include "lab/errors.hpp"

namespace seesaw::gpu_test {
namespace {

// The suite's bounds as plain numbers: device code takes no members of host constants.
constexpr double kSuiteOutAbsolute = lab::FlashMlaSuite{}.out_absolute;
constexpr double kSuiteOutRelative = lab::FlashMlaSuite{}.out_relative;
constexpr double kSuiteLseAbsolute = lab::FlashMlaSuite{}.lse_absolute;
constexpr double kSuiteLseRelative = lab::FlashMlaSuite{}.lse_relative;

constexpr int kThreads = 256;
constexpr int kTileRows = 32;  // rows of a block's tile: two a thread
constexpr int kTileCols = 64;  // columns of a block's tile: four a thread
constexpr int kChunk = 16;     // depth of the product that is staged at a time

__device__ double to_double(__nv_bfloat16 x) { return static_cast<double>(__bfloat162float(x)); }
__device__ double to_double(__half x) { return static_cast<double>(__half2float(x)); }
__device__ void store(__nv_bfloat16* p, float x) { *p = __float2bfloat16(x); }
__device__ void store(__half* p, float x) { *p = __float2half(x); }

// One row: a (query token, head) pair of one KV head's group.
struct Row {
  int64_t token;
  int64_t head;
};

__device__ int64_t rows_of(const ReferenceCall& call) { return call.s_q * (call.h_q / call.h_kv); }

__device__ Row row_of(const ReferenceCall& call, int64_t kv_head, int64_t row) {
  const int64_t group = call.h_q / call.h_kv;
  return {row / group, kv_head * group + row % group};
}

__device__ int64_t visible(const ReferenceCall& call, int64_t sequence, int64_t token) {
  const int64_t length = call.seq_lens[sequence] > 0 ? call.seq_lens[sequence] : 0;
  const int64_t seen = call.causal ? length - call.s_q + token + 1 : length;
  return seen > 0 ? seen : 0;
}

__device__ int64_t kv_offset(const ReferenceCall& call, int64_t sequence, int64_t token,
                             int64_t kv_head) {
  const int64_t page =
      call.block_table[sequence * call.block_table_stride + token / call.page_size];
  return page * call.kv_stride[0] + token % call.page_size * call.kv_stride[1] +
         kv_head * call.kv_stride[2];
}

__device__ double* scores_of(const ReferenceCall& call, int64_t sequence, int64_t kv_head,
                             int64_t row) {
  return call.scores + ((sequence * call.h_kv + kv_head) * rows_of(call) + row) * call.max_len;
}

__device__ RowAllowed& allowed_of(const ReferenceCall& call, int64_t sequence, const Row& row) {
  return call.rows[(sequence * call.s_q + row.token) * call.h_q + row.head];
}

__device__ void keep_maximum(double* where, double value) {
  // Non-negative doubles order as their bits do.
  atomicMax(reinterpret_cast<unsigned long long*>(where),
            static_cast<unsigned long long>(__double_as_longlong(value)));
}

// A tile product c[2][4] += a[32][16] b[64][16]^T from shared memory, and that of magnitudes.
__device__ void multiply_chunk(const double (&a)[kTileRows][kChunk + 1],
                               const double (&b)[kTileCols][kChunk + 1], double (&c)[2][4],
                               double (&magnitude)[2][4]) {
  const int ty = static_cast<int>(threadIdx.x) / 16;
  const int tx = static_cast<int>(threadIdx.x) % 16;
  for (int k = 0; k < kChunk; ++k) {
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 4; ++j) {
        const double product = a[ty * 2 + i][k] * b[tx + 16 * j][k];
        c[i][j] += product;
        magnitude[i][j] += fabs(product);
      }
    }
  }
}

// Which tile a block computes, from a flat grid: [sequence, kv head, row tile, column tile].
struct TileIndex {
  int64_t sequence;
  int64_t kv_head;
  int64_t row_begin;
  int64_t col_begin;
};

__device__ TileIndex tile_of_block(const ReferenceCall& call, int64_t columns) {
  const int64_t col_tiles = (columns + kTileCols - 1) / kTileCols;
  const int64_t row_tiles = (rows_of(call) + kTileRows - 1) / kTileRows;
  int64_t index = blockIdx.x;
  TileIndex tile;
  tile.col_begin = index % col_tiles * kTileCols;
  index /= col_tiles;
  tile.row_begin = index % row_tiles * kTileRows;
  index /= row_tiles;
  tile.kv_head = index % call.h_kv;
  tile.sequence = index / call.h_kv;
  return tile;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) score_kernel(ReferenceCall call) {
  __shared__ double a[kTileRows][kChunk + 1];
  __shared__ double b[kTileCols][kChunk + 1];
  const TileIndex tile = tile_of_block(call, call.max_len);
  const int64_t length = visible(call, tile.sequence, call.s_q - 1);
  if (tile.col_begin >= length) {
    return;
  }
  double c[2][4] = {};
  double magnitude[2][4] = {};
  for (int64_t k = 0; k < call.d_qk; k += kChunk) {
    for (int e = static_cast<int>(threadIdx.x); e < kTileRows * kChunk; e += kThreads) {
      const int64_t row = tile.row_begin + e / kChunk;
      double value = 0.0;
      if (row < rows_of(call)) {
        const Row r = row_of(call, tile.kv_head, row);
        value = to_double(static_cast<const T*>(
            call.q)[tile.sequence * call.q_stride[0] + r.token * call.q_stride[1] +
                    r.head * call.q_stride[2] + k + e % kChunk]);
      }
      a[e / kChunk][e % kChunk] = value;
    }
    for (int e = static_cast<int>(threadIdx.x); e < kTileCols * kChunk; e += kThreads) {
      const int64_t token = tile.col_begin + e / kChunk;
      b[e / kChunk][e % kChunk] =
          token < length
              ? to_double(static_cast<const T*>(
                    call.kv)[kv_offset(call, tile.sequence, token, tile.kv_head) + k + e % kChunk])
              : 0.0;
    }
    __syncthreads();
    multiply_chunk(a, b, c, magnitude);
    __syncthreads();
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int64_t row = tile.row_begin + threadIdx.x / 16 * 2 + i;
      const int64_t token = tile.col_begin + threadIdx.x % 16 + 16 * j;
      if (row < rows_of(call) && token < length) {
        const double score = call.scale * c[i][j];
        scores_of(call, tile.sequence, tile.kv_head, row)[token] = score;
        const Row r = row_of(call, tile.kv_head, row);
        if (token < visible(call, tile.sequence, r.token) && isfinite(score)) {
          keep_maximum(
              &allowed_of(call, tile.sequence, r).score_error,
              lab::score_error(static_cast<double>(call.d_qk), fabs(call.scale) * magnitude[i][j]));
        }
      }
    }
  }
}

// Reduces over the block with `combine`; every thread gets the result.
template <typename Combine>
__device__ double reduce_block(double value, Combine combine) {
  __shared__ double parts[kThreads];
  parts[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) {
      parts[threadIdx.x] = combine(parts[threadIdx.x], parts[threadIdx.x + half]);
    }
    __syncthreads();
  }
  const double result = parts[0];
  __syncthreads();
  return result;
}

// One block a row: scores become probabilities, and invisible ones zero.
__global__ void __launch_bounds__(kThreads) softmax_kernel(ReferenceCall call) {
  const int64_t rows = rows_of(call);
  const int64_t row = blockIdx.x % rows;
  const int64_t kv_head = blockIdx.x / rows % call.h_kv;
  const int64_t sequence = blockIdx.x / rows / call.h_kv;
  const Row r = row_of(call, kv_head, row);
  const int64_t seen = visible(call, sequence, r.token);
  const int64_t length = visible(call, sequence, call.s_q - 1);
  double* scores = scores_of(call, sequence, kv_head, row);
  double maximum = -INFINITY;
  bool poisoned = false;
  for (int64_t t = threadIdx.x; t < seen; t += kThreads) {
    maximum = fmax(maximum, scores[t]);
    poisoned = poisoned || isnan(scores[t]);
  }
  maximum = reduce_block(maximum, [](double x, double y) { return fmax(x, y); });
  poisoned = reduce_block(poisoned ? 1.0 : 0.0, [](double x, double y) { return x + y; }) > 0.0;
  double sum = 0.0;
  for (int64_t t = threadIdx.x; t < seen; t += kThreads) {
    sum += exp(scores[t] - maximum);
  }
  sum = reduce_block(sum, [](double x, double y) { return x + y; });
  for (int64_t t = threadIdx.x; t < length; t += kThreads) {
    scores[t] = t < seen ? exp(scores[t] - maximum) / sum : 0.0;
  }
  if (threadIdx.x == 0) {
    const double natural = poisoned ? static_cast<double>(NAN) : maximum + log(sum);
    double lse = call.lse_base2 ? natural / log(2.0) : natural;
    if (seen == 0) {
      lse = call.empty_lse_positive ? INFINITY : -INFINITY;
    } else {
      RowAllowed& allowed = allowed_of(call, sequence, r);
      allowed.weight_sum = sum;
      allowed.errors = lab::row_errors(
          {static_cast<double>(seen), allowed.score_error, maximum, sum}, call.rounding);
      allowed.lse = call.lse_base2 ? allowed.errors.lse / log(2.0) : allowed.errors.lse;
    }
    call.lse[(sequence * call.h_q + r.head) * call.s_q + r.token] = lse;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) value_kernel(ReferenceCall call) {
  __shared__ double a[kTileRows][kChunk + 1];
  __shared__ double b[kTileCols][kChunk + 1];
  __shared__ double error[kTileRows][kChunk + 1];  // of a's weights, times the sum of weights
  const TileIndex tile = tile_of_block(call, call.d_v);
  const int64_t length = visible(call, tile.sequence, call.s_q - 1);
  double c[2][4] = {};
  double allowed[2][4] = {};
  for (int64_t t = 0; t < length; t += kChunk) {
    for (int e = static_cast<int>(threadIdx.x); e < kTileRows * kChunk; e += kThreads) {
      const int64_t row = tile.row_begin + e / kChunk;
      const int64_t token = t + e % kChunk;
      double probability = 0.0;
      double part = 0.0;
      if (row < rows_of(call) && token < length) {
        const Row r = row_of(call, tile.kv_head, row);
        probability = scores_of(call, tile.sequence, tile.kv_head, row)[token];
        if (token < visible(call, tile.sequence, r.token)) {
          const RowAllowed& of_row = allowed_of(call, tile.sequence, r);
          part = lab::value_error(probability * of_row.weight_sum, of_row.errors, call.rounding);
        }
      }
      a[e / kChunk][e % kChunk] = probability;
      error[e / kChunk][e % kChunk] = part;
    }
    for (int e = static_cast<int>(threadIdx.x); e < kTileCols * kChunk; e += kThreads) {
      const int64_t token = t + e / kTileCols;
      const int64_t column = tile.col_begin + e % kTileCols;
      b[e % kTileCols][e / kTileCols] =
          token < length && column < call.d_v
              ? to_double(static_cast<const T*>(
                    call.kv)[kv_offset(call, tile.sequence, token, tile.kv_head) + column])
              : 0.0;
    }
    __syncthreads();
    double unused[2][4] = {};
    multiply_chunk(a, b, c, unused);
    multiply_chunk(error, b, unused, allowed);
    __syncthreads();
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int64_t row = tile.row_begin + threadIdx.x / 16 * 2 + i;
      const int64_t column = tile.col_begin + threadIdx.x % 16 + 16 * j;
      if (row < rows_of(call) && column < call.d_v) {
        const Row r = row_of(call, tile.kv_head, row);
        RowAllowed& of_row = allowed_of(call, tile.sequence, r);
        const int64_t index =
            ((tile.sequence * call.s_q + r.token) * call.h_q + r.head) * call.d_v + column;
        const double error_of_sum = allowed[i][j] * of_row.errors.out_factor;
        call.out[index] = c[i][j];
        call.allowed_out[index] = error_of_sum;
        if (isfinite(error_of_sum)) keep_maximum(&of_row.largest, error_of_sum);
      }
    }
  }
}

struct CompareInputs {
  const void* out;
  int64_t stride[3];
  const float* lse;
  int64_t lse_stride[3];
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    compare_out_kernel(ReferenceCall call, CompareInputs inputs, Difference* difference) {
  const int64_t count = call.batch * call.s_q * call.h_q * call.d_v;
  double worst = 0.0;
  double product = 0.0;
  double squares = 0.0;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t head = i / call.d_v % call.h_q;
    const int64_t token = i / call.d_v / call.h_q % call.s_q;
    const int64_t sequence = i / call.d_v / call.h_q / call.s_q;
    const double x = to_double(
        static_cast<const T*>(inputs.out)[sequence * inputs.stride[0] + token * inputs.stride[1] +
                                          head * inputs.stride[2] + i % call.d_v]);
    const double r = call.out[i];
    const double error = fabs(x - r);
    const RowAllowed& of_row = call.rows[i / call.d_v];
    const double allowed =
        call.allowed_out[i] + of_row.errors.out_relative * fabs(r) +
        (of_row.weight_sum > 0.0 ? lab::least_error(of_row.largest, call.rounding) : 0.0);
    const bool same = isnan(r) ? isnan(x) : error <= allowed;
    if (!isnan(r) && error > kSuiteOutAbsolute + kSuiteOutRelative * fabs(r)) {
      atomicAdd(&difference->suite_failures, 1ULL);
    }
    if (!same) {
      atomicAdd(&difference->out_failures, 1ULL);
      atomicMin(&difference->first_out_failure, static_cast<unsigned long long>(i));
    }
    if (!isnan(x) && !isnan(r)) {
      worst = fmax(worst, error);
      product += x * r;
      squares += x * x + r * r;
    }
  }
  worst = reduce_block(worst, [](double x, double y) { return fmax(x, y); });
  product = reduce_block(product, [](double x, double y) { return x + y; });
  squares = reduce_block(squares, [](double x, double y) { return x + y; });
  if (threadIdx.x == 0) {
    keep_maximum(&difference->max_out_error, worst);
    atomicAdd(&difference->sum_product, product);
    atomicAdd(&difference->sum_squares, squares);
  }
}

__global__ void __launch_bounds__(kThreads)
    compare_lse_kernel(ReferenceCall call, CompareInputs inputs, Difference* difference) {
  const int64_t count = call.batch * call.h_q * call.s_q;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t token = i % call.s_q;
    const int64_t head = i / call.s_q % call.h_q;
    const int64_t sequence = i / call.s_q / call.h_q;
    const double x = inputs.lse[sequence * inputs.lse_stride[0] + head * inputs.lse_stride[1] +
                                token * inputs.lse_stride[2]];
    const double r = call.lse[i];
    const double error = fabs(x - r);
    const bool same = isnan(r) ? isnan(x)
                      : isinf(r)
                          ? x == r
                          : error <= call.rows[(sequence * call.s_q + token) * call.h_q + head].lse;
    if (!isnan(r) && !isinf(r) && error > kSuiteLseAbsolute + kSuiteLseRelative * fabs(r)) {
      atomicAdd(&difference->suite_failures, 1ULL);
    }
    if (!same) {
      atomicAdd(&difference->lse_failures, 1ULL);
      atomicMin(&difference->first_lse_failure, static_cast<unsigned long long>(i));
    } else if (!isnan(r) && !isinf(r)) {
      keep_maximum(&difference->max_lse_error, error);
    }
  }
}

__device__ uint32_t hash(uint64_t x) {
  x ^= x >> 31;
  x *= 0x9E3779B97F4A7C15ULL;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9ULL;
  return static_cast<uint32_t>(x >> 32);
}

__device__ float value_at(Values values, uint64_t place) {
  const float u = (static_cast<float>(hash(2 * place + values.seed)) + 1.0F) * 2.3283064e-10F;
  const float v = static_cast<float>(hash(2 * place + 1 + values.seed)) * 2.3283064e-10F;
  const float normal = sqrtf(-2.0F * logf(fminf(u, 1.0F))) * cospif(2.0F * v);
  return fminf(fmaxf(values.sigma * normal, -values.limit), values.limit);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* data, int64_t count, Values values) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * kThreads) {
    store(data + i, value_at(values, static_cast<uint64_t>(i)));
  }
}

// One block a (sequence, token tile, KV head): flat grid, tokens fastest.
template <typename T>
__global__ void __launch_bounds__(kThreads) fill_cache_kernel(ReferenceCall call, Values values) {
  const int64_t tiles = (call.max_len + 63) / 64;
  const int64_t token_begin = blockIdx.x % tiles * 64;
  const int64_t kv_head = blockIdx.x / tiles % call.h_kv;
  const int64_t sequence = blockIdx.x / tiles / call.h_kv;
  const int64_t length = call.seq_lens[sequence];
  for (int64_t e = threadIdx.x; e < 64 * call.d_qk; e += kThreads) {
    const int64_t token = token_begin + e / call.d_qk;
    if (token < length) {
      const int64_t offset = kv_offset(call, sequence, token, kv_head) + e % call.d_qk;
      store(const_cast<T*>(static_cast<const T*>(call.kv)) + offset,
            value_at(values, static_cast<uint64_t>(offset)));
    }
  }
}

template <typename T>
cudaError_t launch_reference_of(const ReferenceCall& call, cudaStream_t stream) {
  const int64_t rows = call.s_q * (call.h_q / call.h_kv);
  const int64_t row_tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t token_tiles = (call.max_len + kTileCols - 1) / kTileCols;
  const int64_t column_tiles = (call.d_v + kTileCols - 1) / kTileCols;
  const int64_t groups = call.batch * call.h_kv;
  if (groups == 0) {
    return cudaSuccess;
  }
  const auto all_rows = static_cast<size_t>(call.batch * call.s_q * call.h_q);
  const cudaError_t cleared = cudaMemsetAsync(call.rows, 0, all_rows * sizeof(RowAllowed), stream);
  if (cleared != cudaSuccess) {
    return cleared;
  }
  if (token_tiles > 0) {
    score_kernel<T>
        <<<static_cast<unsigned>(groups * row_tiles * token_tiles), kThreads, 0, stream>>>(call);
  }
  softmax_kernel<<<static_cast<unsigned>(groups * rows), kThreads, 0, stream>>>(call);
  value_kernel<T>
      <<<static_cast<unsigned>(groups * row_tiles * column_tiles), kThreads, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace

int64_t reference_scratch_bytes(const ReferenceCall& call) {
  return call.batch * call.h_q * call.s_q * call.max_len * static_cast<int64_t>(sizeof(double));
}

cudaError_t launch_reference(const ReferenceCall& call, cudaStream_t stream) {
  return call.element == Element::kBFloat16 ? launch_reference_of<__nv_bfloat16>(call, stream)
                                            : launch_reference_of<__half>(call, stream);
}

cudaError_t launch_compare(const ReferenceCall& call, const void* out, const int64_t (&stride)[3],
                           const float* lse, const int64_t (&lse_stride)[3], Difference* difference,
                           cudaStream_t stream) {
  const Difference none;
  cudaError_t error =
      cudaMemcpyAsync(difference, &none, sizeof(none), cudaMemcpyHostToDevice, stream);
  if (error != cudaSuccess) {
    return error;
  }
  const CompareInputs inputs = {
      out, {stride[0], stride[1], stride[2]}, lse, {lse_stride[0], lse_stride[1], lse_stride[2]}};
  constexpr unsigned kBlocks = 528;
  if (call.element == Element::kBFloat16) {
    compare_out_kernel<__nv_bfloat16><<<kBlocks, kThreads, 0, stream>>>(call, inputs, difference);
  } else {
    compare_out_kernel<__half><<<kBlocks, kThreads, 0, stream>>>(call, inputs, difference);
  }
  if (lse != nullptr) {
    compare_lse_kernel<<<kBlocks, kThreads, 0, stream>>>(call, inputs, difference);
  }
  return cudaGetLastError();
}

cudaError_t launch_fill(void* data, Element element, int64_t count, Values values,
                        cudaStream_t stream) {
  constexpr unsigned kBlocks = 1056;
  if (element == Element::kBFloat16) {
    fill_kernel<<<kBlocks, kThreads, 0, stream>>>(static_cast<__nv_bfloat16*>(data), count, values);
  } else {
    fill_kernel<<<kBlocks, kThreads, 0, stream>>>(static_cast<__half*>(data), count, values);
  }
  return cudaGetLastError();
}

cudaError_t launch_fill_cache(const ReferenceCall& call, Values values, cudaStream_t stream) {
  const int64_t blocks = call.batch * call.h_kv * ((call.max_len + 63) / 64);
  if (blocks == 0) {
    return cudaSuccess;
  }
  if (call.element == Element::kBFloat16) {
    fill_cache_kernel<__nv_bfloat16>
        <<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(call, values);
  } else {
    fill_cache_kernel<__half><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(call, values);
  }
  return cudaGetLastError();
}

}  // namespace seesaw::gpu_test
