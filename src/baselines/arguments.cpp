#include "baselines/arguments.hpp"

#include <algorithm>
#include <initializer_list>

#include "base/checked.hpp"
#include "baselines/refusal.hpp"
#include "boundary/dtype_name.hpp"

namespace seesaw::baselines {
namespace {

std::string device_name(seesaw_device device) {
  return device.type == SEESAW_CPU ? "cpu" : fmt::format("cuda:{}", device.index);
}

// What a tensor of a call has to look like.
struct Expected {
  const char* name;
  const char* dims;  // for the message: "[B, N, d_model]"
  std::span<const int64_t> shape;
  DType dtype;
  seesaw_device device;
};

Status check_shape(const Expected& expected, const seesaw_tensor& tensor) {
  const auto rank = static_cast<int32_t>(expected.shape.size());
  if (tensor.rank == rank &&
      std::equal(expected.shape.begin(), expected.shape.end(), tensor.shape)) {
    return {};
  }
  const std::string arrived = tensor.rank == rank
                                  ? fmt::format("{} has shape [{}]", expected.name,
                                                fmt::join(tensor.shape, tensor.shape + rank, ", "))
                                  : fmt::format("{} has rank {}", expected.name, tensor.rank);
  return bad(arrived, fmt::format("{} = [{}]", expected.dims, fmt::join(expected.shape, ", ")),
             "Reshape the tensor, or plan for its shape.");
}

Status check_kind(const Expected& expected, const seesaw_tensor& tensor) {
  if (tensor.dtype != static_cast<int32_t>(expected.dtype)) {
    return bad_type(fmt::format("{} has dtype {}", expected.name, dtype_name(tensor.dtype)),
                    dtype_name(static_cast<int32_t>(expected.dtype)),
                    "Convert the tensor, or plan for its dtype.");
  }
  if (tensor.device.type != expected.device.type || tensor.device.index != expected.device.index) {
    return bad(fmt::format("{} is on {}", expected.name, device_name(tensor.device)),
               device_name(expected.device), "Move the tensor, or plan for its device.");
  }
  if (tensor.data == nullptr) {
    return bad(fmt::format("{} has data = NULL", expected.name), "a pointer to its first element",
               "Pass the tensor's memory.");
  }
  if (reinterpret_cast<uintptr_t>(tensor.data) % static_cast<uintptr_t>(size_of(expected.dtype))) {
    return bad(fmt::format("{} is at address {}", expected.name, tensor.data),
               fmt::format("multiples of {} bytes", size_of(expected.dtype)),
               "Copy the tensor to aligned memory.");
  }
  return {};
}

// The distance between elements of a dimension counts only if there is more than one. The shape is
// one that read_problem let through, whose number of elements is far inside 63 bits.
Status check_contiguous(const Expected& expected, const seesaw_tensor& tensor) {
  int64_t packed_stride = 1;
  for (size_t i = expected.shape.size(); i-- > 0;) {
    if (tensor.shape[i] > 1 && tensor.stride[i] != packed_stride) {
      return bad(
          fmt::format("{} has stride {} in dimension {}", expected.name, tensor.stride[i], i),
          fmt::format("{}: a contiguous tensor", packed_stride),
          "Make a contiguous copy of the tensor.");
    }
    packed_stride *= tensor.shape[i];
  }
  return {};
}

Status check_packed(const Expected& expected, const seesaw_tensor& tensor) {
  SEESAW_RETURN_IF_ERROR(check_shape(expected, tensor));
  SEESAW_RETURN_IF_ERROR(check_kind(expected, tensor));
  return check_contiguous(expected, tensor);
}

// Strides >= 0 that address memory inside 63 bits.
Status check_strides(const char* name, const seesaw_tensor& tensor) {
  int64_t last = 0;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    const int64_t stride = tensor.shape[i] > 1 ? tensor.stride[i] : 0;
    int64_t reach = 0;
    if (stride < 0 || !checked_mul(tensor.shape[i] - 1, stride, &reach) ||
        !checked_add(last, reach, &last) || last > (int64_t{1} << 60)) {
      return bad(fmt::format("{} has stride {} in dimension {}", name, tensor.stride[i], i),
                 "0 or more, and a tensor of less than 2^60 elements",
                 "Make a contiguous copy of the tensor.");
    }
  }
  return {};
}

int64_t stride_of(const seesaw_tensor& tensor, int32_t dim) {
  return tensor.shape[dim] > 1 ? tensor.stride[dim] : 0;
}

Status read_mask(const Call& call, const seesaw_tensor& tensor, View* mask) {
  const Problem& p = call.problem;
  const bool one_pattern =
      p.model == SEESAW_BASELINE_TRADITIONAL_MLA || p.model == SEESAW_BASELINE_CHUNKED_MLA;
  const int64_t heads = one_pattern ? 1 : p.num_heads;
  if (tensor.rank != 4) {
    return bad(fmt::format("mask has rank {}", tensor.rank), "[1 or B, 1 or H, N, S]",
               "Add dimensions of size 1.");
  }
  const bool fits = (tensor.shape[0] == 1 || tensor.shape[0] == p.batch) &&
                    (tensor.shape[1] == 1 || tensor.shape[1] == heads) &&
                    tensor.shape[2] == p.tokens && tensor.shape[3] == call.keys();
  if (!fits) {
    return bad(
        fmt::format("mask has shape [{}]", fmt::join(tensor.shape, tensor.shape + 4, ", ")),
        fmt::format("[1 or {}, {}, {}, {}]", p.batch,
                    one_pattern ? "1" : fmt::format("1 or {}", heads), p.tokens, call.keys()),
        "Slice or expand the mask to the call's queries and keys.");
  }
  const Expected expected{"mask", "", {}, DType::kUInt8, p.device};
  SEESAW_RETURN_IF_ERROR(check_kind(expected, tensor));
  SEESAW_RETURN_IF_ERROR(check_strides("mask", tensor));
  *mask = {.data = tensor.data,
           .dtype = DType::kUInt8,
           .shape = {p.batch, heads, p.tokens, call.keys()},
           .stride = {stride_of(tensor, 0), stride_of(tensor, 1), stride_of(tensor, 2),
                      stride_of(tensor, 3)}};
  return {};
}

Status read_positions(const Problem& p, const seesaw_tensor& tensor, View* positions) {
  const int64_t shape[] = {p.batch, p.tokens};
  const Expected expected{"positions", "[B, N]", shape, DType::kInt32, p.device};
  SEESAW_RETURN_IF_ERROR(check_shape(expected, tensor));
  SEESAW_RETURN_IF_ERROR(check_kind(expected, tensor));
  SEESAW_RETURN_IF_ERROR(check_strides("positions", tensor));
  *positions = {.data = tensor.data,
                .dtype = DType::kInt32,
                .shape = {p.batch, 1, p.tokens, 1},
                .stride = {stride_of(tensor, 0), 0, stride_of(tensor, 1), 0}};
  return {};
}

Status read_weights(const Problem& p, const seesaw_baselines_args& args,
                    std::span<const seesaw_baseline_parameter> parameters,
                    std::span<View> weights) {
  if (args.num_weights != parameters.size()) {
    return bad(fmt::format("num_weights = {}", args.num_weights),
               fmt::format("{}, one for each parameter of {}", parameters.size(),
                           seesaw_baselines_model_name(p.model)),
               "Pass them in the order of seesaw_baselines_parameters.");
  }
  SEESAW_RETURN_IF_ERROR(require(args.weights, "weights"));
  for (size_t i = 0; i < parameters.size(); ++i) {
    const seesaw_baseline_parameter& parameter = parameters[i];
    const auto rank = static_cast<size_t>(parameter.rank);
    const Expected expected{parameter.name,
                            rank == 2 ? "[outputs, inputs]" : "[n]",
                            {parameter.shape, rank},
                            p.dtype,
                            p.device};
    SEESAW_RETURN_IF_ERROR(check_packed(expected, args.weights[i]));
    weights[i] = parameter_view(parameter, p.dtype, args.weights[i].data);
  }
  return {};
}

Status read_cache(const Problem& p, const seesaw_tensor& tensor, View* cache) {
  if (p.cache_capacity == 0) {
    if (tensor.data == nullptr) {
      return {};
    }
    return bad("a cache, where cache_capacity = 0 was planned", "cache.data = NULL",
               "Plan with the cache's capacity, or leave the cache out.");
  }
  const int64_t shape[] = {p.batch, p.cache_capacity, p.cache_width()};
  SEESAW_RETURN_IF_ERROR(check_packed(
      {"cache", "[B, cache_capacity, cache_width]", shape, p.dtype, p.device}, tensor));
  *cache = packed(tensor.data, p.dtype, {shape[0], 1, shape[1], shape[2]});
  return {};
}

}  // namespace

Status read_arguments(const seesaw_baselines_args& args,
                      std::span<const seesaw_baseline_parameter> parameters,
                      std::span<View> weights, Call* call) {
  const Problem& p = call->problem;
  if (args.past_tokens < 0 || args.past_tokens > p.max_past()) {
    return bad(fmt::format("past_tokens = {}", args.past_tokens),
               fmt::format("0 to {} (cache_capacity - tokens, or 0 without a cache)", p.max_past()),
               "Plan with a larger cache_capacity.");
  }
  call->past = args.past_tokens;
  const int64_t shape[] = {p.batch, p.tokens, p.d_model};
  SEESAW_RETURN_IF_ERROR(check_packed({"x", "[B, N, d_model]", shape, p.dtype, p.device}, args.x));
  SEESAW_RETURN_IF_ERROR(
      check_packed({"out", "[B, N, d_model]", shape, p.dtype, p.device}, args.out));
  SEESAW_RETURN_IF_ERROR(read_weights(p, args, parameters, weights));
  SEESAW_RETURN_IF_ERROR(read_cache(p, args.cache, &call->cache));
  if (args.mask.data != nullptr) {
    SEESAW_RETURN_IF_ERROR(read_mask(*call, args.mask, &call->mask));
  }
  if (args.positions.data != nullptr) {
    SEESAW_RETURN_IF_ERROR(read_positions(p, args.positions, &call->positions));
  }
  const Dims dims{shape[0], 1, shape[1], shape[2]};
  call->x = packed(args.x.data, p.dtype, dims);
  call->out = packed(args.out.data, p.dtype, dims);
  call->weights = weights;
  return {};
}

}  // namespace seesaw::baselines
