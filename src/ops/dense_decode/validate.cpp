#include "ops/dense_decode/validate.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <initializer_list>
#include <string_view>

#include "base/checked.hpp"
#include "base/math.hpp"
#include "base/message.hpp"

namespace seesaw {
namespace {

constexpr const char* kWhere = "dense_decode";

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

bool is_float(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kBFloat16 || dtype == DType::kFloat16;
}

Status check_float(const char* name, DType dtype) {
  if (is_float(dtype)) {
    return {};
  }
  return bad(fmt::format("{} = {} ({})", name, static_cast<int>(dtype), name_of(dtype)),
             "float32, bfloat16, float16", "Convert the tensor to one of these.");
}

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) {
    return {};
  }
  return bad(fmt::format("{} = {}", name, value), fmt::format("{} to {}", low, high),
             fmt::format("Check the shape that {} comes from.", name));
}

std::string device_name(Device device) {
  return device.type == DeviceType::kCpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

std::string shape_text(const TensorView& tensor) {
  return fmt::format("[{}]",
                     fmt::join(tensor.shape.begin(),
                               tensor.shape.begin() + std::clamp(tensor.rank, 0, kMaxRank), ", "));
}

// What a tensor of a call has to look like. A shape entry of -1 takes any size.
struct Expected {
  const char* name;
  const char* dims;  // for the message: "[b, s_q, h_q, d_qk]"
  std::initializer_list<int64_t> shape;
  DType dtype;
};

Status check_shape(const Expected& expected, const TensorView& tensor) {
  const auto rank = static_cast<int32_t>(expected.shape.size());
  bool matches = tensor.rank == rank;
  for (int32_t i = 0; matches && i < rank; ++i) {
    const int64_t want = expected.shape.begin()[i];
    const int64_t got = tensor.shape[static_cast<size_t>(i)];
    matches = got >= 0 && (want < 0 || got == want);
  }
  if (matches) {
    return {};
  }
  const std::string arrived =
      tensor.rank == rank ? fmt::format("{} has shape {}", expected.name, shape_text(tensor))
                          : fmt::format("{} has rank {}", expected.name, tensor.rank);
  return bad(
      arrived,
      fmt::format("{} = [{}] (-1: any size)", expected.dims, fmt::join(expected.shape, ", ")),
      "Reshape the tensor, or plan for its shape.");
}

// Strides that address memory inside 63 bits, the innermost 1 (of vectors: any). Only dimensions
// larger than 1 count.
Status check_strides(const Expected& expected, const TensorView& tensor) {
  int64_t last_byte = size_of(tensor.dtype);
  for (int32_t i = 0; i < tensor.rank; ++i) {
    const int64_t extent = tensor.shape[static_cast<size_t>(i)];
    const int64_t stride = tensor.stride[static_cast<size_t>(i)];
    if (extent <= 1) {
      continue;
    }
    const bool must_be_packed = i + 1 == tensor.rank && tensor.rank > 1;
    if (must_be_packed ? stride != 1 : stride < 0) {
      return bad(fmt::format("{} has stride {} in dimension {}", expected.name, stride, i),
                 must_be_packed ? "1 in the innermost dimension" : "0 or more",
                 "Make a contiguous copy of the tensor.");
    }
    int64_t bytes = 0;
    if (!checked_mul(extent - 1, stride, &bytes) ||
        !checked_mul(bytes, size_of(tensor.dtype), &bytes) ||
        !checked_add(last_byte, bytes, &last_byte)) {
      return bad(
          fmt::format("{} of shape {} has stride {}", expected.name, shape_text(tensor), stride),
          "a tensor of less than 2^63 bytes", "Check the strides: they count elements.");
    }
  }
  return {};
}

Status check_memory(const Expected& expected, const TensorView& tensor) {
  const auto begin = tensor.shape.begin();
  if (std::any_of(begin, begin + tensor.rank, [](int64_t extent) { return extent == 0; })) {
    return {};  // nothing is read or written
  }
  if (tensor.data == nullptr) {
    return bad(fmt::format("{} has data = NULL", expected.name), "a pointer to its first element",
               "Pass the tensor's memory.");
  }
  if (reinterpret_cast<uintptr_t>(tensor.data) % static_cast<uintptr_t>(size_of(tensor.dtype))) {
    return bad(fmt::format("{} is at address {}", expected.name, tensor.data),
               fmt::format("multiples of {} bytes", size_of(tensor.dtype)),
               "Copy the tensor to aligned memory.");
  }
  return {};
}

Status check_tensor(const Expected& expected, Device device, const TensorView& tensor) {
  SEESAW_RETURN_IF_ERROR(check_shape(expected, tensor));
  if (tensor.dtype != expected.dtype) {
    return bad(fmt::format("{} has dtype {} ({})", expected.name, static_cast<int>(tensor.dtype),
                           name_of(tensor.dtype)),
               name_of(expected.dtype), "Convert the tensor, or plan for its dtype.");
  }
  if (tensor.device != device) {
    return bad(fmt::format("{} is on {}", expected.name, device_name(tensor.device)),
               device_name(device), "Move the tensor, or plan for its device.");
  }
  SEESAW_RETURN_IF_ERROR(check_strides(expected, tensor));
  return check_memory(expected, tensor);
}

// Results must not share elements: a stride of 0 would.
Status check_output_strides(const char* name, const TensorView& tensor) {
  for (int32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[static_cast<size_t>(i)] > 1 && tensor.stride[static_cast<size_t>(i)] == 0) {
      return bad(fmt::format("{} has stride 0 in dimension {}", name, i), "1 or more",
                 "Give every element of the output memory of its own.");
    }
  }
  return {};
}

// The cache's strides decide the kernel, so they are fixed when planning.
Status check_planned_strides(const DenseDecodeProblem& problem, const TensorView& cache) {
  const int64_t planned[] = {problem.kv_page_stride, problem.kv_token_stride,
                             problem.kv_head_stride};
  const char* names[] = {"page", "token", "head"};
  for (size_t i = 0; i < 3; ++i) {
    if (cache.shape[i] > 1 && cache.stride[i] != planned[i]) {
      return bad(fmt::format("kv_cache has {} stride {}", names[i], cache.stride[i]),
                 fmt::format("{}, as planned", planned[i]),
                 fmt::format("Set kv_{}_stride of the problem and plan again.", names[i]));
    }
  }
  return {};
}

int32_t length_at(const TensorView& seq_lens, int64_t sequence) {
  return static_cast<const int32_t*>(seq_lens.data)[sequence * seq_lens.stride[0]];
}

}  // namespace

Status resolve_strides(DenseDecodeProblem& problem) {
  int64_t token = 0;
  int64_t page = 0;
  if (!checked_mul(problem.h_kv, problem.d_qk, &token) ||
      !checked_mul(token, problem.page_size, &page)) {
    return bad(fmt::format("page_size = {}, h_kv = {}, d_qk = {}", problem.page_size, problem.h_kv,
                           problem.d_qk),
               "a page of less than 2^63 elements", "Check the cache's shape.");
  }
  const auto resolve = [](int64_t& stride, int64_t packed) {
    stride = stride == 0 ? packed : stride;
  };
  resolve(problem.kv_head_stride, problem.d_qk);
  resolve(problem.kv_token_stride, token);
  resolve(problem.kv_page_stride, page);
  return {};
}

Status validate_problem(const DenseDecodeProblem& problem) {
  SEESAW_RETURN_IF_ERROR(check_float("q_dtype", problem.q_dtype));
  SEESAW_RETURN_IF_ERROR(check_float("kv_dtype", problem.kv_dtype));
  SEESAW_RETURN_IF_ERROR(check_range("batch", problem.batch, 1, 1 << 30));
  SEESAW_RETURN_IF_ERROR(check_range("s_q", problem.s_q, 1, 1 << 20));
  SEESAW_RETURN_IF_ERROR(check_range("h_q", problem.h_q, 1, 1 << 20));
  SEESAW_RETURN_IF_ERROR(check_range("h_kv", problem.h_kv, 1, problem.h_q));
  SEESAW_RETURN_IF_ERROR(check_range("rows = s_q * h_q", problem.s_q * problem.h_q, 1, 1 << 30));
  if (problem.h_q % problem.h_kv != 0) {
    return bad(fmt::format("h_q = {} with h_kv = {}", problem.h_q, problem.h_kv),
               "h_q a multiple of h_kv", "Repeat or drop heads so that the groups are equal.");
  }
  SEESAW_RETURN_IF_ERROR(check_range("d_qk", problem.d_qk, 1, 1 << 16));
  SEESAW_RETURN_IF_ERROR(check_range("d_v", problem.d_v, 1, problem.d_qk));
  SEESAW_RETURN_IF_ERROR(check_range("page_size", problem.page_size, 1, INT32_MAX));
  SEESAW_RETURN_IF_ERROR(
      check_range("max_pages_per_sequence", problem.max_pages_per_sequence, 1, INT32_MAX));
  SEESAW_RETURN_IF_ERROR(check_range("kv_page_stride", problem.kv_page_stride, 1, INT64_MAX / 8));
  SEESAW_RETURN_IF_ERROR(check_range("kv_token_stride", problem.kv_token_stride, 1, INT64_MAX / 8));
  SEESAW_RETURN_IF_ERROR(check_range("kv_head_stride", problem.kv_head_stride, 1, INT64_MAX / 8));
  return check_range("num_threads", problem.num_threads, 0, 4096);
}

Status validate_seq_lens(const DenseDecodeProblem& problem, const TensorView& seq_lens) {
  const Expected expected{"seq_lens", "[b]", {-1}, DType::kInt32};
  SEESAW_RETURN_IF_ERROR(check_tensor(expected, problem.device, seq_lens));
  return check_range("b = seq_lens.shape[0]", seq_lens.shape[0], 0, problem.batch);
}

Status validate_arguments(const DenseDecodeProblem& problem,
                          const DenseDecodeArguments& arguments) {
  SEESAW_RETURN_IF_ERROR(validate_seq_lens(problem, arguments.seq_lens));
  const int64_t b = arguments.seq_lens.shape[0];
  const Expected q{
      "q", "[b, s_q, h_q, d_qk]", {b, problem.s_q, problem.h_q, problem.d_qk}, problem.q_dtype};
  const Expected kv_cache{"kv_cache",
                          "[num_pages, page_size, h_kv, d_qk]",
                          {-1, problem.page_size, problem.h_kv, problem.d_qk},
                          problem.kv_dtype};
  const Expected block_table{"block_table",
                             "[b, max_pages_per_sequence]",
                             {b, problem.max_pages_per_sequence},
                             DType::kInt32};
  const Expected out{
      "out", "[b, s_q, h_q, d_v]", {b, problem.s_q, problem.h_q, problem.d_v}, problem.q_dtype};
  const Expected lse{"lse", "[b, h_q, s_q]", {b, problem.h_q, problem.s_q}, DType::kFloat32};
  SEESAW_RETURN_IF_ERROR(check_tensor(q, problem.device, arguments.q));
  SEESAW_RETURN_IF_ERROR(check_tensor(kv_cache, problem.device, arguments.kv_cache));
  SEESAW_RETURN_IF_ERROR(check_planned_strides(problem, arguments.kv_cache));
  SEESAW_RETURN_IF_ERROR(check_tensor(block_table, problem.device, arguments.block_table));
  SEESAW_RETURN_IF_ERROR(check_tensor(out, problem.device, arguments.out));
  SEESAW_RETURN_IF_ERROR(check_output_strides("out", arguments.out));
  if (arguments.lse.data != nullptr) {
    SEESAW_RETURN_IF_ERROR(check_tensor(lse, problem.device, arguments.lse));
    SEESAW_RETURN_IF_ERROR(check_output_strides("lse", arguments.lse));
  }
  if (!std::isfinite(arguments.scale)) {
    return bad(fmt::format("scale = {}", arguments.scale), "a finite number",
               "DeepSeek's is 1/sqrt(192), of the head before absorption.");
  }
  return {};
}

Status check_host_lengths(const DenseDecodeProblem& problem, const TensorView& seq_lens) {
  const int64_t capacity = problem.max_tokens();
  for (int64_t i = 0; i < seq_lens.shape[0]; ++i) {
    const int64_t length = length_at(seq_lens, i);
    if (length > capacity || (length < 0 && problem.check_data)) {
      return bad(fmt::format("seq_lens[{}] = {}", i, length),
                 fmt::format("0 to {} (max_pages_per_sequence = {} pages of {})", capacity,
                             problem.max_pages_per_sequence, problem.page_size),
                 "Correct the length, or widen the block table.");
    }
  }
  return {};
}

Status check_host_block_table(const DenseDecodeProblem& problem,
                              const DenseDecodeArguments& arguments) {
  const int64_t num_pages = arguments.kv_cache.shape[0];
  const TensorView& table = arguments.block_table;
  const auto* ids = static_cast<const int32_t*>(table.data);
  for (int64_t i = 0; i < arguments.seq_lens.shape[0]; ++i) {
    const int64_t length = std::max(length_at(arguments.seq_lens, i), 0);
    const int64_t pages = ceil_div(length, problem.page_size);
    for (int64_t p = 0; p < pages; ++p) {
      const int32_t id = ids[i * table.stride[0] + p];
      if (id < 0 || id >= num_pages) {
        return bad(fmt::format("block_table[{}, {}] = {}", i, p, id),
                   fmt::format("0 to {} (num_pages - 1), as seq_lens[{}] = {} needs {} pages",
                               num_pages - 1, i, length, pages),
                   "Correct the page id or the length.");
      }
    }
  }
  return {};
}

}  // namespace seesaw
