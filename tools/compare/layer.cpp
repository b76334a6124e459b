#include "compare/layer.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "lab/call.hpp"
#include "lab/synthetic.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

constexpr double kBiasSigma = 0.1;

size_t elements(const seesaw_baseline_parameter& parameter) {
  return static_cast<size_t>(parameter.shape[0]) *
         static_cast<size_t>(parameter.rank == 2 ? parameter.shape[1] : 1);
}

HostArray random_weight(const seesaw_baseline_parameter& parameter, seesaw_dtype dtype,
                        uint64_t seed) {
  if (parameter.rank == 2) {
    const double sigma = 1 / std::sqrt(static_cast<double>(parameter.shape[1]));
    return normal_array(elements(parameter), sigma, dtype, seed);
  }
  const bool norm = std::string_view(parameter.name).find("norm") != std::string_view::npos;
  return norm ? constant_array(elements(parameter), 1, dtype)
              : normal_array(elements(parameter), kBiasSigma, dtype, seed);
}

// Numbers of the whole cache; 0 without one.
size_t cache_elements(const BaselineDescriptor& d) {
  if (d.cache_capacity == 0) {
    return 0;
  }
  const uint64_t token_bytes = cost(d).cache_bytes_per_token;
  return static_cast<size_t>(d.batch * d.cache_capacity) * token_bytes / lab::size_of(d.dtype);
}

}  // namespace

LayerInputs random_inputs(const BaselineDescriptor& d, uint64_t seed) {
  LayerInputs inputs;
  uint64_t stream = seed * 64;
  inputs.x =
      normal_array(static_cast<size_t>(d.batch * d.tokens * d.d_model), 1, d.dtype, ++stream);
  for (const seesaw_baseline_parameter& parameter : parameters(d)) {
    inputs.weights.push_back(random_weight(parameter, d.dtype, ++stream));
  }
  inputs.cache = normal_array(cache_elements(d), 1, d.dtype, ++stream);
  return inputs;
}

Layer::Layer(Device& device, const BaselineDescriptor& descriptor, const LayerInputs& inputs)
    : device_(device), descriptor_(descriptor), plan_(descriptor) {
  const BaselineDescriptor& d = descriptor_;
  tensors_.x = make_tensor(bring(inputs.x), d.dtype, {d.batch, d.tokens, d.d_model}, d.device);
  const std::vector<seesaw_baseline_parameter> rows = parameters(d);
  for (size_t i = 0; i < rows.size(); ++i) {
    void* data = bring(inputs.weights[i]);
    tensors_.weights.push_back(
        rows[i].rank == 2
            ? make_tensor(data, d.dtype, {rows[i].shape[0], rows[i].shape[1]}, d.device)
            : make_tensor(data, d.dtype, {rows[i].shape[0]}, d.device));
  }
  if (d.cache_capacity > 0) {
    tensors_.cache = make_tensor(bring(inputs.cache), d.dtype,
                                 {d.batch, d.cache_capacity, plan_.info().cache_width}, d.device);
    tensors_.past_tokens = d.cache_capacity - d.tokens;
  }
  const HostArray poison{d.dtype, inputs.x.count,
                         std::vector<std::byte>(inputs.x.bytes.size(), std::byte{0xFF})};
  out_ = DeviceBuffer(device, poison.bytes.size());
  device.copy_in(out_.data(), poison.bytes.data(), poison.bytes.size());
  tensors_.out = make_tensor(out_.data(), d.dtype, {d.batch, d.tokens, d.d_model}, d.device);
  tensors_.stream = device.stream();
}

void* Layer::bring(const HostArray& array) {
  memory_.emplace_back(device_, array.bytes.size());
  device_.copy_in(memory_.back().data(), array.bytes.data(), array.bytes.size());
  return memory_.back().data();
}

void Layer::use(void* workspace, size_t size_bytes) {
  tensors_.workspace = workspace;
  tensors_.workspace_bytes = size_bytes;
}

void Layer::run() { plan_.run(tensors_); }

std::vector<double> Layer::out() {
  const size_t width = lab::size_of(descriptor_.dtype);
  HostArray host{descriptor_.dtype, out_.size_bytes() / width,
                 std::vector<std::byte>(out_.size_bytes())};
  device_.synchronise();
  device_.copy_out(host.bytes.data(), out_.data(), host.bytes.size());
  return widened(host);
}

// The kernel's plan, its tensors in host memory, and the call on the device.
struct DecodeKernel::State {
  State(Device& device, const DecodeProblem& d, const SyntheticCase& from)
      : plan(d.problem, d.options),
        source(from),
        memory(source),
        call(device, plan, d.problem.d_v, memory.inputs(source)) {
    call.prepare();
  }

  DenseDecode plan;
  SyntheticCase source;  // on the CPU the call reads its block table and lengths
  SyntheticMemory memory;
  Call call;
};

DecodeKernel::DecodeKernel(Device& device, const Setting& setting, const Contender& contender,
                           const Place& place, uint64_t seed) {
  const DecodeProblem d = decode_of(setting, contender, place);
  state_ = std::make_unique<State>(device, d,
                                   SyntheticCase(d.problem, lengths_of(setting), {.seed = seed}));
}

DecodeKernel::~DecodeKernel() = default;

void DecodeKernel::run() { state_->call.run(); }
std::string DecodeKernel::backend() const { return state_->plan.kernel(); }
uint64_t DecodeKernel::workspace_bytes() const { return state_->plan.workspace_bytes(); }

}  // namespace seesaw::tools
