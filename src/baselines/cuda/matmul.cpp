// cuBLASLt's matrices are column-major, so a row-major c = a b is asked for as c^T = b^T a^T: its A
// is our b, its B our a, and the row-major bytes of each are its column-major transpose.
#include "baselines/cuda/matmul.hpp"

namespace seesaw::baselines {
namespace {

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
      return CUDA_R_16BF;
    case DType::kFloat16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

// Descriptors of one product, in place: making them allocates nothing. The first failure is kept.
class Descriptors {
 public:
  Descriptors(const CublasLt& lt, const Product& product, const void* bias) : lt_(lt) {
    keep(lt.init_operation(&operation_, sizeof(operation_), CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set_operation(CUBLASLT_MATMUL_DESC_TRANSA, op_of(product.b));
    set_operation(CUBLASLT_MATMUL_DESC_TRANSB, op_of(product.a));
    if (product.bias) {
      set_operation(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set_operation(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    set_layout(&a_, {product.n, product.k}, product.b, product.in, product.batch);
    set_layout(&b_, {product.k, product.m}, product.a, product.in, product.batch);
    set_layout(&c_, {product.n, product.m}, product.c, product.out, product.batch);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  cublasStatus_t status() const { return status_; }
  cublasLtMatmulDesc_t operation() { return &operation_; }
  cublasLtMatrixLayout_t a() { return &a_; }
  cublasLtMatrixLayout_t b() { return &b_; }
  cublasLtMatrixLayout_t c() { return &c_; }

 private:
  struct Size {
    int64_t rows;
    int64_t columns;
  };

  static cublasOperation_t op_of(const Operand& operand) {
    return operand.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  }

  void keep(cublasStatus_t status) {
    status_ = status_ == CUBLAS_STATUS_SUCCESS ? status : status_;
  }

  template <typename Value>
  void set_operation(cublasLtMatmulDescAttributes_t attribute, Value value) {
    keep(lt_.set_operation(&operation_, attribute, &value, sizeof(value)));
  }

  // `size` is that of the operand after it has been transposed where it says so.
  void set_layout(cublasLtMatrixLayoutOpaque_t* layout, Size size, const Operand& operand,
                  DType dtype, int64_t batch) {
    const Size stored = operand.transposed ? Size{size.columns, size.rows} : size;
    keep(lt_.init_layout(layout, sizeof(*layout), type_of(dtype),
                         static_cast<uint64_t>(stored.rows), static_cast<uint64_t>(stored.columns),
                         operand.row_stride));
    const auto count = static_cast<int32_t>(batch);
    keep(lt_.set_layout(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)));
    keep(lt_.set_layout(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &operand.batch_stride,
                        sizeof(operand.batch_stride)));
  }

  const CublasLt& lt_;
  cublasStatus_t status_ = CUBLAS_STATUS_SUCCESS;
  cublasLtMatmulDescOpaque_t operation_{};
  cublasLtMatrixLayoutOpaque_t a_{};
  cublasLtMatrixLayoutOpaque_t b_{};
  cublasLtMatrixLayoutOpaque_t c_{};
};

class Preference {
 public:
  Preference(const CublasLt& lt, uint32_t alignment, uint64_t max_workspace) : lt_(lt) {
    keep(lt.init_preference(&opaque_, sizeof(opaque_)));
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, max_workspace);
    // Not in place, whose order is not fixed, and not in the output's type, which rounds the parts.
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      set(attribute, alignment);
    }
  }

  cublasStatus_t status() const { return status_; }
  cublasLtMatmulPreference_t get() { return &opaque_; }

 private:
  void keep(cublasStatus_t status) {
    status_ = status_ == CUBLAS_STATUS_SUCCESS ? status : status_;
  }

  template <typename Value>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
    keep(lt_.set_preference(&opaque_, attribute, &value, sizeof(value)));
  }

  const CublasLt& lt_;
  cublasStatus_t status_ = CUBLAS_STATUS_SUCCESS;
  cublasLtMatmulPreferenceOpaque_t opaque_{};
};

}  // namespace

std::optional<Algorithm> choose_algorithm(const CublasLt& lt, cublasLtHandle_t handle,
                                          const Product& product, uint32_t alignment,
                                          uint64_t max_workspace) {
  // The heuristic does not read the bias, but looks at how its address is aligned.
  const auto* bias = reinterpret_cast<const void*>(static_cast<uintptr_t>(alignment));
  Descriptors d(lt, product, bias);
  Preference preference(lt, alignment, max_workspace);
  if (d.status() != CUBLAS_STATUS_SUCCESS || preference.status() != CUBLAS_STATUS_SUCCESS) {
    return std::nullopt;
  }
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status = lt.heuristic(handle, d.operation(), d.a(), d.b(), d.c(), d.c(),
                                             preference.get(), 1, &result, &found);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0 || result.state != CUBLAS_STATUS_SUCCESS) {
    return std::nullopt;
  }
  return Algorithm{result.algo, result.workspaceSize};
}

cublasStatus_t launch_product(const CublasLt& lt, cublasLtHandle_t handle, const Product& product,
                              const Operands& operands, const Algorithm& algorithm,
                              const Workspace& workspace, cudaStream_t stream) {
  Descriptors d(lt, product, operands.bias);
  if (d.status() != CUBLAS_STATUS_SUCCESS) {
    return d.status();
  }
  const float alpha = 1.0F;
  const float beta = product.accumulate ? 1.0F : 0.0F;
  return lt.matmul(handle, d.operation(), &alpha, operands.b, d.a(), operands.a, d.b(), &beta,
                   operands.c, d.c(), operands.c, d.c(), &algorithm.algo, workspace.data,
                   workspace.bytes, stream);
}

}  // namespace seesaw::baselines
