#include "model_run.hpp"

#include <cmath>

#include "baselines/models.hpp"

namespace seesaw::baselines::gpu_test {
namespace {

constexpr uint64_t kGuard = 512;

void must_succeed(seesaw_status status) {
  if (status != SEESAW_OK) {
    throw std::runtime_error(seesaw_baselines_last_error());
  }
}

// The C ABI's tensor: the last `rank` dimensions of a contiguous view.
seesaw_tensor tensor_of(const View& view, int32_t rank) {
  seesaw_tensor tensor = {};
  tensor.data = view.data;
  tensor.rank = rank;
  tensor.dtype = static_cast<int32_t>(view.dtype);
  tensor.device = {SEESAW_CUDA, 0};
  for (int32_t i = 0; i < rank; ++i) {
    tensor.shape[i] = view.shape[static_cast<size_t>(4 - rank + i)];
    tensor.stride[i] = view.stride[static_cast<size_t>(4 - rank + i)];
  }
  return tensor;
}

// [B, 1, N, C] as the C ABI has it, [B, N, C].
seesaw_tensor rows_of(const View& flat, int64_t batch, int64_t rows, int64_t columns) {
  return tensor_of(packed(flat.data, flat.dtype, {1, batch, rows, columns}), 3);
}

Tolerance tolerance_of(DType dtype, double largest) {
  // Several roundings to the type in a row, of which some fall the other way.
  switch (dtype) {
    case DType::kBFloat16:
      return {0x1p-7 * largest, 0x1p-6};
    case DType::kFloat16:
      return {0x1p-10 * largest, 0x1p-9};
    default:
      return {4e-6 * largest, 4e-6};
  }
}

}  // namespace

std::string ModelCase::name() const {
  return fmt::format(
      "{} dtype {} B {} N {} capacity {} past {} d_model {} H {} d {} latent {} q_latent {} nope "
      "{} "
      "rope {} v {} chunk {} flags {} mask {} positions {} offset {}",
      seesaw_baselines_model_name(problem.model), problem.dtype, problem.batch, problem.tokens,
      problem.cache_capacity, past, problem.d_model, problem.num_heads, problem.head_dim,
      problem.d_latent, problem.d_q_latent, problem.d_nope, problem.d_rope, problem.d_v,
      problem.chunk_size, problem.flags, static_cast<int>(mask), positions, offset);
}

ModelRun::ModelRun(const ModelCase& c, const ModelRun* planned) : case_(c) {
  case_.problem.struct_size = sizeof(seesaw_baseline_problem);
  case_.problem.device = {SEESAW_CUDA, 0};
  const Status status = read_problem(&case_.problem, &problem_);
  if (!status.ok()) {
    throw std::runtime_error(status.message());
  }
  const int64_t rows = problem_.batch * problem_.tokens;
  x_ = &tensor(rows * problem_.d_model);
  if (problem_.cache_capacity > 0) {
    cache_ = &tensor(problem_.batch * problem_.cache_capacity * problem_.cache_width());
  }
  make_weights();
  make_mask();
  make_positions();
  out_ = &tensor(rows * problem_.d_model);
  if (planned == nullptr) {
    plan();
  } else {
    plan_ = planned->plan_;
  }
  read_plan();
  refill(1);
}

void ModelRun::make_weights() {
  for (const seesaw_baseline_parameter& parameter : parameters(problem_)) {
    Mirror& mirror = tensor(parameter.shape[0] * parameter.shape[1]);
    // Matrices keep the variance of what they are applied to.
    const double inputs = static_cast<double>(parameter.shape[1]);
    mirror.fill(mirrors_.size(), parameter.rank == 2 ? std::sqrt(3.0 / inputs) : 1.0);
    weights_.push_back(parameter_view(parameter, problem_.dtype, mirror.host().data));
    device_weights_.push_back(
        tensor_of(parameter_view(parameter, problem_.dtype, mirror.device().data), parameter.rank));
  }
}

void ModelRun::make_mask() {
  const int64_t heads = case_.mask == MaskOf::kHeads ? problem_.num_heads : 1;
  const int64_t keys = case_.past + problem_.tokens;
  if (case_.mask == MaskOf::kNone) {
    return;
  }
  std::mt19937_64 engine(7);
  for (int64_t i = 0; i < problem_.batch * heads * problem_.tokens * keys; ++i) {
    const bool query_0 = i / keys % problem_.tokens == 0;
    mask_.push_back(!query_0 && engine() % 3 != 0 ? 1 : 0);
  }
  device_mask_.reserve(mask_.size());
  seesaw::lab::copy_to_device(mask_, device_mask_.as<void>(), stream_.get());
}

void ModelRun::make_positions() {
  if (!case_.positions) {
    return;
  }
  for (int64_t i = 0; i < problem_.batch * problem_.tokens; ++i) {
    positions_.push_back(static_cast<int32_t>(i * 7919 % 5000));
  }
  device_positions_.reserve(positions_.size() * sizeof(int32_t));
  seesaw::lab::copy_to_device(positions_, device_positions_.as<void>(), stream_.get());
}

void ModelRun::plan() {
  seesaw_baselines_plan* made = nullptr;
  must_succeed(seesaw_baselines_plan_create(&case_.problem, &made));
  plan_.reset(made, seesaw_baselines_plan_destroy);
}

void ModelRun::read_plan() {
  seesaw_baselines_plan_info info = {};
  info.struct_size = sizeof(info);
  must_succeed(seesaw_baselines_plan_get_info(plan_.get(), &info));
  if (std::string(info.backend) != "cuda.cublaslt") {
    throw std::runtime_error(std::string("planned on ") + info.backend);
  }
  workspace_bytes_ = info.workspace_bytes;
  workspace_.reserve(workspace_bytes_ + 2 * kGuard);
}

void ModelRun::refill(uint64_t seed) {
  x_->fill(seed, std::sqrt(3.0));
  out_->poison();
  if (cache_ != nullptr) {
    cache_->poison();
    const View all = packed(cache_->host().data, problem_.dtype,
                            {problem_.batch, 1, problem_.cache_capacity, problem_.cache_width()});
    for (int64_t b = 0; b < problem_.batch; ++b) {
      const View known = all.slice(0, b, b + 1).slice(2, 0, case_.past);
      fill_view(known, seed + static_cast<uint64_t>(b) + 17, 1.5);
    }
  }
  for (Mirror& mirror : mirrors_) {
    mirror.upload();
  }
  workspace_.poison(workspace_.bytes(), stream_.get());
  stream_.wait();
}

void ModelRun::advance(uint64_t seed) {
  case_.past += problem_.tokens;
  x_->fill(seed, std::sqrt(3.0));
  out_->poison();
  x_->upload();
  out_->upload();
}

std::string ModelRun::run() {
  seesaw_baselines_args args = {};
  args.struct_size = sizeof(args);
  args.x = rows_of(x_->device(), problem_.batch, problem_.tokens, problem_.d_model);
  args.weights = device_weights_.data();
  args.num_weights = device_weights_.size();
  const int64_t keys = case_.past + problem_.tokens;
  if (!mask_.empty()) {
    const int64_t heads = case_.mask == MaskOf::kHeads ? problem_.num_heads : 1;
    args.mask = tensor_of(packed(device_mask_.as<void>(), DType::kUInt8,
                                 {problem_.batch, heads, problem_.tokens, keys}),
                          4);
  }
  if (!positions_.empty()) {
    args.positions = tensor_of(packed(device_positions_.as<void>(), DType::kInt32,
                                      {1, 1, problem_.batch, problem_.tokens}),
                               2);
  }
  if (cache_ != nullptr) {
    args.cache =
        rows_of(cache_->device(), problem_.batch, problem_.cache_capacity, problem_.cache_width());
  }
  args.out = rows_of(out_->device(), problem_.batch, problem_.tokens, problem_.d_model);
  args.past_tokens = case_.past;
  args.workspace = workspace_.as<char>() + kGuard;
  args.workspace_bytes = workspace_bytes_;
  args.stream = stream_.get();
  const seesaw_status status = seesaw_baselines_run(plan_.get(), &args);
  return status == SEESAW_OK ? "" : seesaw_baselines_last_error();
}

std::string ModelRun::verdict() {
  stream_.wait();
  seesaw_baseline_cost cost = {};
  cost.struct_size = sizeof(cost);
  must_succeed(seesaw_baselines_cost(&case_.problem, case_.past, &cost));
  std::vector<uint8_t> memory(cost.intermediate_bytes + Arena::kAlignment, 0xFF);
  Arena arena(memory.data());
  HostOps ops(arena);
  Call call{.problem = problem_};
  call.x = packed(x_->host().data, problem_.dtype,
                  {problem_.batch, 1, problem_.tokens, problem_.d_model});
  call.out = packed(out_->host().data, problem_.dtype, call.x.shape);
  call.weights = weights_;
  call.past = case_.past;
  if (!mask_.empty()) {
    const int64_t heads = case_.mask == MaskOf::kHeads ? problem_.num_heads : 1;
    call.mask =
        packed(mask_.data(), DType::kUInt8, {problem_.batch, heads, problem_.tokens, call.keys()});
    const bool one_head = heads == 1;
    call.mask.shape[1] = one_head ? problem_.num_heads : heads;
    call.mask.stride[1] = one_head ? 0 : call.mask.stride[1];
  }
  if (!positions_.empty()) {
    call.positions =
        packed(positions_.data(), DType::kInt32, {problem_.batch, 1, problem_.tokens, 1});
  }
  if (cache_ != nullptr) {
    call.cache = packed(cache_->host().data, problem_.dtype,
                        {problem_.batch, 1, problem_.cache_capacity, problem_.cache_width()});
  }
  const Status status = run_model(ops, call);
  if (!status.ok()) {
    return status.message();
  }
  double largest = 0.0;
  for (int64_t i = 0; i < call.out.elements(); ++i) {
    largest = std::fmax(largest, std::fabs(load(call.out, i)));
  }
  if (!(largest > 0.01) || !std::isfinite(largest)) {
    return fmt::format("the host's largest result is {}", largest);
  }
  for (Mirror& mirror : mirrors_) {
    const std::string difference = mirror.difference(tolerance_of(problem_.dtype, largest));
    if (!difference.empty()) {
      return (&mirror == out_     ? "out: "
              : &mirror == cache_ ? "cache: "
                                  : "an input: ") +
             difference;
    }
  }
  return workspace_guards();
}

std::string ModelRun::workspace_guards() const {
  const std::vector<uint8_t> bytes =
      seesaw::lab::copy_to_host<uint8_t>(workspace_.as<void>(), workspace_.bytes(), stream_.get());
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool guard = i < kGuard || i >= kGuard + workspace_bytes_;
    if (guard && bytes[i] != 0xFF) {
      return fmt::format("byte {} of the workspace's {} was written", i - kGuard, workspace_bytes_);
    }
  }
  return {};
}

std::vector<uint8_t> ModelRun::out_bytes() const {
  stream_.wait();
  return out_->device_bytes();
}

std::vector<double> ModelRun::out_values() const {
  stream_.wait();
  return out_->device_values();
}

std::vector<double> ModelRun::weight_values(size_t i) const {
  std::vector<double> values;
  for (int64_t element = 0; element < weights_[i].elements(); ++element) {
    values.push_back(load(weights_[i], element));
  }
  return values;
}

}  // namespace seesaw::baselines::gpu_test
