// The GPU backend "cuda.cublaslt". Its workspace: the arena, then what one product may use.
#include "baselines/backend.hpp"

#include "base/message.hpp"
#include "baselines/cuda/cuda_ops.hpp"
#include "baselines/cuda/kernels.hpp"
#include "baselines/models.hpp"
#include "gpu/device.hpp"

namespace seesaw::baselines {
namespace {

constexpr const char* kWhere = "baselines";

// A library handle, which belongs to the device that was current when it was made.
class Handle {
 public:
  explicit Handle(const CublasLt& lt) : lt_(lt) {}
  ~Handle() {
    if (handle_ != nullptr) {
      lt_.destroy(handle_);
    }
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  Status create() { return status_of(lt_, lt_.create(&handle_), "cublasLtCreate"); }
  cublasLtHandle_t get() const { return handle_; }

 private:
  const CublasLt& lt_;
  cublasLtHandle_t handle_ = nullptr;
};

class CudaPrepared final : public Prepared {
 public:
  CudaPrepared(const CublasLt& lt, const Problem& problem)
      : lt_(lt), problem_(problem), handle_(lt) {}

  // The problem's device is current.
  Status plan() {
    SEESAW_RETURN_IF_ERROR(handle_.create());
    return make_plan(lt_, handle_.get(), problem_, &plan_);
  }

  uint64_t workspace_bytes() const override { return plan_.arena_bytes + plan_.product_bytes; }
  uint64_t num_products() const override { return plan_.pasts.front().products.size(); }
  uint64_t converted_products() const override { return 0; }

  Status run(const Call& call, void* workspace, void* stream) const override {
    const gpu::DeviceGuard guard(problem_.device.index);
    SEESAW_RETURN_IF_ERROR(gpu::status_of(guard.error(), kWhere, "selecting the device"));
    const CudaContext context = {
        .lt = &lt_,
        .handle = handle_.get(),
        .workspace = {static_cast<char*>(workspace) + plan_.arena_bytes, plan_.product_bytes},
        .stream = static_cast<cudaStream_t>(stream),
    };
    Arena arena(workspace);
    CudaOps ops(arena, context, plan_.for_past(call.past).products);
    return run_model(ops, call);
  }

 private:
  const CublasLt& lt_;
  const Problem problem_;
  Handle handle_;
  CudaPlan plan_;
};

class CublasLtBackend final : public Backend {
 public:
  const char* name() const override { return "cuda.cublaslt"; }

  Support supports(const Problem& problem) const override {
    if (problem.device.type != SEESAW_CUDA) {
      return {false, "runs on NVIDIA GPUs; the problem is on the CPU"};
    }
    const gpu::DeviceAnswer device = gpu::device_of(problem.device.index);
    if (device.properties == nullptr) {
      return {false, device.why_not};
    }
    const gpu::DeviceGuard guard(problem.device.index);
    const cudaError_t error = guard.error() == cudaSuccess ? kernels_are_loadable() : guard.error();
    if (error != cudaSuccess) {
      cudaGetLastError();
      return {false, four_part_message(
                         kWhere,
                         fmt::format("{} of compute capability {}.{}, {}", device.properties->name,
                                     device.properties->compute_major,
                                     device.properties->compute_minor, cudaGetErrorString(error)),
                         "GPUs that this build has machine code for",
                         "Configure with their CMAKE_CUDA_ARCHITECTURES.")};
    }
    const CublasLtAnswer& library = cublaslt();
    return {library.functions != nullptr, library.why_not};
  }

  Status prepare(const Problem& problem, std::unique_ptr<Prepared>* prepared) const override {
    const gpu::DeviceGuard guard(problem.device.index);
    SEESAW_RETURN_IF_ERROR(gpu::status_of(guard.error(), kWhere, "selecting the device"));
    auto made = std::make_unique<CudaPrepared>(*cublaslt().functions, problem);
    SEESAW_RETURN_IF_ERROR(made->plan());
    *prepared = std::move(made);
    return {};
  }
};

}  // namespace

const Backend& cublaslt_backend() {
  static const CublasLtBackend backend;
  return backend;
}

}  // namespace seesaw::baselines
