#include "layers/parameters.hpp"

#include <algorithm>
#include <cstring>

#include "base/float16.hpp"
#include "base/float8.hpp"
#include "base/math.hpp"
#include "boundary/dtype_name.hpp"
#include "layers/refusal.hpp"

namespace seesaw::layers {
namespace {

using baselines::DType;
using baselines::View;

constexpr const char* kOwnConfig =
    "Pass the parameters of a layer with MLA, its prefix, and its own configuration.";
constexpr const char* kFirst = "kv_a_proj_with_mqa.weight";
constexpr const char* kScales = "_scale_inv";
constexpr int64_t kBlock = 128;  // rows and columns of an FP8 weight that share a scale

const seesaw_tensor* find(std::span<const seesaw_named_tensor> tensors, const std::string& name) {
  const auto found = std::find_if(
      tensors.begin(), tensors.end(),
      [&](const seesaw_named_tensor& t) { return t.name != nullptr && name == t.name; });
  return found == tensors.end() ? nullptr : &found->tensor;
}

bool is_float(int32_t dtype) {
  return dtype == SEESAW_FLOAT32 || dtype == SEESAW_BFLOAT16 || dtype == SEESAW_FLOAT16;
}

int64_t bytes_of(int32_t dtype) {
  return dtype == SEESAW_FLOAT32 ? 4 : dtype == SEESAW_UINT8 ? 1 : 2;
}

// What one of the tensors has to be.
struct Wanted {
  std::string name;
  int32_t rank = 0;
  int64_t shape[2] = {};
};

Status check_tensor(const Wanted& wanted, const seesaw_tensor* tensor) {
  if (tensor == nullptr) {
    return bad(fmt::format("no tensor {}", wanted.name), "all parameters of the layer", kOwnConfig);
  }
  if (tensor->data == nullptr || tensor->device.type == SEESAW_CUDA) {
    return bad(fmt::format("{} without data on the CPU", wanted.name), "CPU memory",
               "Copy the tensor to the host.");
  }
  const bool vector = wanted.rank == 1;
  const bool same = tensor->rank == wanted.rank && tensor->shape[0] == wanted.shape[0] &&
                    (vector || tensor->shape[1] == wanted.shape[1]);
  if (!same) {
    const int32_t rank = std::clamp(tensor->rank, 0, SEESAW_MAX_RANK);
    return bad(fmt::format("{} has shape [{}]", wanted.name,
                           fmt::join(tensor->shape, tensor->shape + rank, ", ")),
               fmt::format("[{}]", fmt::join(wanted.shape, wanted.shape + wanted.rank, ", ")),
               kOwnConfig);
  }
  const bool packed = vector ? tensor->stride[0] == 1 || tensor->shape[0] == 1
                             : (tensor->stride[1] == 1 || tensor->shape[1] == 1) &&
                                   (tensor->stride[0] == tensor->shape[1] || tensor->shape[0] == 1);
  if (!packed) {
    return bad(fmt::format("{} with strides [{}]", wanted.name,
                           fmt::join(tensor->stride, tensor->stride + wanted.rank, ", ")),
               "contiguous tensors", "Make it contiguous.");
  }
  return {};
}

Status check_type(const std::string& name, const seesaw_tensor& tensor, bool scaled) {
  if (is_float(tensor.dtype) || (scaled && tensor.dtype == SEESAW_UINT8)) {
    return {};
  }
  return bad_type(fmt::format("{} has dtype {}{}", name, dtype_name(tensor.dtype),
                              tensor.dtype == SEESAW_UINT8 ? ", without its _scale_inv" : ""),
                  "float32, bfloat16, float16, and uint8 as FP8 with scales",
                  "Convert the tensor.");
}

// One parameter's source, checked.
struct Source {
  Wanted wanted;
  const seesaw_tensor* tensor = nullptr;
  const seesaw_tensor* scales = nullptr;  // of FP8
};

Status find_source(std::span<const seesaw_named_tensor> tensors, const Wanted& wanted,
                   Source* source) {
  *source = {wanted, find(tensors, wanted.name), nullptr};
  SEESAW_RETURN_IF_ERROR(check_tensor(wanted, source->tensor));
  const std::string scales = wanted.name + kScales;
  const bool scaled =
      source->tensor->dtype == SEESAW_UINT8 && wanted.rank == 2 && find(tensors, scales) != nullptr;
  SEESAW_RETURN_IF_ERROR(check_type(wanted.name, *source->tensor, scaled));
  if (scaled) {
    source->scales = find(tensors, scales);
    const Wanted blocks{
        scales, 2, {ceil_div(wanted.shape[0], kBlock), ceil_div(wanted.shape[1], kBlock)}};
    SEESAW_RETURN_IF_ERROR(check_tensor(blocks, source->scales));
    return check_type(scales, *source->scales, false);
  }
  return {};
}

// Memory need not be aligned: a file's is not.
float element(const seesaw_tensor& tensor, int64_t i) {
  const auto* bytes = static_cast<const unsigned char*>(tensor.data) + i * bytes_of(tensor.dtype);
  const auto as = [&]<typename T>(T value) {
    std::memcpy(&value, bytes, sizeof(value));
    return to_float(value);
  };
  switch (tensor.dtype) {
    case SEESAW_FLOAT32:
      return as(float{});
    case SEESAW_BFLOAT16:
      return as(BFloat16{});
    case SEESAW_FLOAT16:
      return as(Float16{});
    default:
      return from_e4m3(*bytes);
  }
}

template <typename T>
void convert(const Source& source, T* to) {
  const int64_t columns = source.wanted.rank == 2 ? source.wanted.shape[1] : 1;
  const int64_t blocks = ceil_div(columns, kBlock);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < source.wanted.shape[0]; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t i = row * columns + column;
      float value = element(*source.tensor, i);
      if (source.scales != nullptr) {
        value *= element(*source.scales, row / kBlock * blocks + column / kBlock);
      }
      to[i] = from_float<T>(value);
    }
  }
}

void copy(const Source& source, const View& to) {
  if (source.tensor->dtype == static_cast<int32_t>(to.dtype)) {  // NaNs keep their bits
    std::memcpy(to.data, source.tensor->data, static_cast<size_t>(to.bytes()));
    return;
  }
  switch (to.dtype) {
    case DType::kBFloat16:
      return convert(source, static_cast<BFloat16*>(to.data));
    case DType::kFloat16:
      return convert(source, static_cast<Float16*>(to.data));
    default:
      return convert(source, static_cast<float*>(to.data));
  }
}

}  // namespace

Status dtype_of(std::span<const seesaw_named_tensor> tensors, const std::string& prefix,
                int32_t* dtype) {
  const seesaw_tensor* tensor = find(tensors, prefix + kFirst);
  if (tensor == nullptr) {
    return bad(fmt::format("no tensor {}{}", prefix, kFirst), "all parameters of the layer",
               kOwnConfig);
  }
  *dtype = is_float(tensor->dtype) ? tensor->dtype : SEESAW_BFLOAT16;
  return {};
}

Status read_parameters(std::span<const seesaw_named_tensor> tensors, const std::string& prefix,
                       const baselines::Problem& problem, Parameters* parameters) {
  constexpr int64_t kAlignment = 64;
  const std::vector<seesaw_baseline_parameter> rows = baselines::parameters(problem);
  std::vector<Source> sources(rows.size());
  int64_t bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Wanted wanted{prefix + rows[i].name, rows[i].rank, {rows[i].shape[0], rows[i].shape[1]}};
    SEESAW_RETURN_IF_ERROR(find_source(tensors, wanted, &sources[i]));
    bytes +=
        round_up(baselines::parameter_view(rows[i], problem.dtype, nullptr).bytes(), kAlignment);
  }
  parameters->memory = AlignedBuffer(static_cast<size_t>(bytes));
  parameters->views.clear();
  auto* to = static_cast<char*>(parameters->memory.data());
  for (size_t i = 0; i < rows.size(); ++i) {
    parameters->views.push_back(baselines::parameter_view(rows[i], problem.dtype, to));
    copy(sources[i], parameters->views.back());
    to += round_up(parameters->views.back().bytes(), kAlignment);
  }
  return {};
}

}  // namespace seesaw::layers
