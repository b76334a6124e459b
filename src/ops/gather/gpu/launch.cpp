// Host side of gpu.gather: from a plan and the tensors of one call to the kernels' parameters.
#include <algorithm>

#include "gpu/device.hpp"
#include "ops/gather/gpu/gather.hpp"

namespace seesaw::gather::gpu {
namespace {

constexpr char kWhere[] = "gather";
constexpr uint64_t kUnitBytes = 16;

template <typename T>
Vector<T> vector_of(const Tensor& tensor) {
  return {static_cast<const T*>(tensor.data), tensor.stride[0]};
}

Cache cache_of(const GatherPlan& plan, const Args& args) {
  const Problem& problem = plan.problem;
  const CacheFormat& format = plan.format;
  return {.data = static_cast<const std::byte*>(args.kv_cache.data),
          .num_pages = args.kv_cache.shape[0],
          .page_stride = problem.page_stride_bytes(),
          .row_stride = row_stride_bytes(format, problem.kv_token_stride),
          .tails = problem.page_size * format.row_bytes,
          .page_size = seesaw::gpu::PageSize(problem.page_size),
          .row_bytes = format.row_bytes,
          .tail_bytes = format.tail_bytes};
}

Wanted wanted_of(const Args& args) {
  const bool narrow = by_slots(args) && dtype_of(args.slots) == DType::kInt32;
  Wanted wanted = {};
  if (narrow) {
    wanted.narrow_slots = vector_of<int32_t>(args.slots);
  } else {
    wanted.slots = vector_of<int64_t>(args.slots);
  }
  wanted.cu_seq_lens = vector_of<int32_t>(args.cu_seq_lens);
  wanted.starts = vector_of<int32_t>(args.starts);
  wanted.block_table = static_cast<const int32_t*>(args.block_table.data);
  wanted.table_stride = args.block_table.stride[0];
  wanted.table_columns = wanted.block_table == nullptr ? 0 : args.block_table.shape[1];
  wanted.batch = batch_of(args);
  return wanted;
}

uint64_t lowest_bit(uint64_t bits) { return bits & (~bits + 1); }

// The largest power of two, up to 16, that divides where rows of the cache and of out begin.
uint64_t alignment_of(const GatherParams& params) {
  uint64_t all = kUnitBytes;
  for (const int64_t offset :
       {params.cache.page_stride, params.cache.row_stride, params.out_stride}) {
    all |= static_cast<uint64_t>(offset);
  }
  all |= reinterpret_cast<uintptr_t>(params.cache.data) | reinterpret_cast<uintptr_t>(params.out);
  return lowest_bit(all);
}

// The same with what a copy of a record's bytes needs besides.
uint64_t copy_unit(const GatherParams& params) {
  const Cache& cache = params.cache;
  const auto tails = cache.tail_bytes == 0 ? 0 : static_cast<uint64_t>(cache.tails);
  return lowest_bit(alignment_of(params) | tails | static_cast<uint64_t>(cache.row_bytes) |
                    static_cast<uint64_t>(cache.tail_bytes));
}

GatherParams params_of(const GatherPlan& plan, const Args& args) {
  GatherParams params = {};
  params.cache = cache_of(plan, args);
  params.wanted = wanted_of(args);
  params.out = static_cast<std::byte*>(args.out.data);
  params.num_rows = rows_of(args);
  // Of a single row the stride may be any.
  params.out_stride = rows_of(args) == 1 ? 0 : args.out.stride[0] * element_bytes(args.out);
  return params;
}

void set_numbers(const CacheFormat& format, const Args& args, GatherParams* params) {
  params->latent = format.latent;
  params->rotary = format.rotary;
  params->scales = format.scales;
  params->scaled_columns = format.scales.count == 0 ? 0 : format.scaled_columns;
  params->scale_group = seesaw::gpu::Divisor(static_cast<uint32_t>(format.scale_group));
  params->kv_scale = format.tensor_scale ? static_cast<const float*>(args.kv_scale.data) : nullptr;
  // Segments begin on chunks; plain formats have one. Tails hold scales alone.
  params->aligned = alignment_of(*params) == kUnitBytes;
}

}  // namespace

Support supports(const Problem&, const Options& options) {
  return seesaw::gpu::runs_portable(options.device.index);
}

Status run(const GatherPlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_call(args));
  const int32_t device = plan.options.device.index;
  const auto stream = static_cast<cudaStream_t>(call.stream);
  const seesaw::gpu::DeviceGuard guard(device);
  SEESAW_RETURN_IF_ERROR(
      seesaw::gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  if (plan.options.check_data) {
    SEESAW_RETURN_IF_ERROR(check_data(plan, args, stream));
  }
  if (rows_of(args) == 0 || (!by_slots(args) && batch_of(args) == 0)) {
    return {};
  }
  const int32_t num_sms = seesaw::gpu::device_of(device).properties->num_sms;
  GatherParams params = params_of(plan, args);
  cudaError_t error;
  if (plan.problem.copies()) {
    error = launch_copy(params, copy_unit(params), num_sms, stream);
  } else {
    set_numbers(plan.format, args, &params);
    error = launch_convert(params, plan.problem.out_type(), num_sms, stream);
  }
  return seesaw::gpu::status_of(error, kWhere, "launching the gather");
}

}  // namespace seesaw::gather::gpu
