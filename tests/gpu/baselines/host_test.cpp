// What the GPU backend decides on the host, which needs no GPU: how a step becomes calls of
// cuBLASLt, which pasts are planned, and what it says where cuBLASLt or a GPU is missing.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>
#include <tuple>

#include "baselines/backend.hpp"
#include "baselines/cuda/cublaslt.hpp"
#include "baselines/cuda/plan.hpp"

namespace seesaw::baselines {
namespace {

// What a product multiplies and where the sum goes, in elements from each tensor's start.
using Term = std::tuple<int64_t, int64_t, int64_t>;  // of a, of b, of c

int64_t element(const Operand& operand, int64_t loop, int64_t batch, int64_t row, int64_t column) {
  const int64_t within =
      operand.transposed ? column * operand.row_stride + row : row * operand.row_stride + column;
  return loop * operand.loop_stride + batch * operand.batch_stride + within;
}

std::multiset<Term> terms_of(const Product& p) {
  std::multiset<Term> terms;
  for (int64_t loop = 0; loop < p.loops; ++loop) {
    for (int64_t batch = 0; batch < p.batch; ++batch) {
      for (int64_t m = 0; m < p.m; ++m) {
        for (int64_t n = 0; n < p.n; ++n) {
          for (int64_t k = 0; k < p.k; ++k) {
            terms.emplace(element(p.a, loop, batch, m, k), element(p.b, loop, batch, k, n),
                          element(p.c, loop, batch, m, n));
          }
        }
      }
    }
  }
  return terms;
}

int64_t element(const View& view, const Dims& at) {
  int64_t index = 0;
  for (size_t i = 0; i < 4; ++i) {
    index += view.shape[i] == 1 ? 0 : at[i] * view.stride[i];
  }
  return index;
}

std::multiset<Term> terms_of(const Gemm& step) {
  std::multiset<Term> terms;
  const Dims& size = step.c.shape;
  for (int64_t i = 0; i < size[0]; ++i) {
    for (int64_t j = 0; j < size[1]; ++j) {
      for (int64_t m = 0; m < size[2]; ++m) {
        for (int64_t n = 0; n < size[3]; ++n) {
          for (int64_t k = 0; k < step.a.shape[3]; ++k) {
            terms.emplace(element(step.a, {i, j, m, k}), element(step.b, {i, j, k, n}),
                          element(step.c, {i, j, m, n}));
          }
        }
      }
    }
  }
  return terms;
}

void* somewhere() { return reinterpret_cast<void*>(uintptr_t{4096}); }

View any_layout(Dims shape, uint64_t layout, int64_t padding) {
  constexpr std::array<size_t, 4> kOrders[] = {{0, 1, 2, 3}, {0, 1, 3, 2}, {0, 2, 1, 3}};
  const std::array<size_t, 4>& order = kOrders[layout];
  Dims memory{};
  for (size_t i = 0; i < 4; ++i) {
    memory[i] = shape[order[i]];
  }
  memory[3] += padding;
  return packed(somewhere(), DType::kBFloat16, memory)
      .slice(3, 0, memory[3] - padding)
      .permute(order);  // each order is its own inverse
}

TEST(ProductOf, AddsTheSameTermsAsTheStep) {
  std::mt19937_64 engine(3);
  const auto any = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine);
  };
  int folded = 0;
  int looped = 0;
  for (int i = 0; i < 3000; ++i) {
    const Dims size = {any(1, 3), any(1, 3), any(1, 4), any(1, 4)};
    const int64_t k = any(1, 4);
    const int64_t b_outer = any(0, 1) == 0 ? 1 : size[0];
    const int64_t b_inner = b_outer == 1 || any(0, 1) == 0 ? 1 : size[1];
    const int64_t a_inner = any(0, 3) == 0 ? 1 : size[1];
    const Gemm step = {.a = any_layout({size[0], a_inner, size[2], k},
                                       static_cast<uint64_t>(any(0, 2)), any(0, 2)),
                       .b = any_layout({b_outer, b_inner, k, size[3]},
                                       static_cast<uint64_t>(any(0, 2)), any(0, 2)),
                       .c = any_layout(size, any(0, 1) == 0 ? 0 : 2, any(0, 2))};
    ASSERT_TRUE(is_product(step));
    const Product product = product_of(step);
    ASSERT_EQ(terms_of(product), terms_of(step)) << i;
    folded += product.m > size[2] ? 1 : 0;
    looped += product.loops > 1 ? 1 : 0;
    // cuBLASLt wants rows that do not overlap.
    EXPECT_GE(product.c.row_stride, product.n);
    EXPECT_GE(product.a.row_stride, product.a.transposed ? product.m : product.k);
    EXPECT_GE(product.b.row_stride, product.b.transposed ? product.k : product.n);
  }
  EXPECT_GT(folded, 100);
  EXPECT_GT(looped, 100);
}

TEST(ProductOf, OneCallWhereOneCacheServesAllHeads) {
  const Gemm step = {.a = packed(somewhere(), DType::kBFloat16, {4, 128, 1, 576}),
                     .b = packed(somewhere(), DType::kBFloat16, {4, 1, 1000, 576}).transposed(),
                     .c = packed(somewhere(), DType::kFloat32, {4, 128, 1, 1000})};
  const Product product = product_of(step);
  EXPECT_EQ(product.m, 128);
  EXPECT_EQ(product.batch, 4);
  EXPECT_EQ(product.loops, 1);
}

TEST(Alignment, WeakerProductsExpectNoMore) {
  std::mt19937_64 engine(4);
  for (int i = 0; i < 500; ++i) {
    const auto size = [&] { return static_cast<int64_t>(8 * (engine() % 9 + 1)); };
    const Gemm step = {.a = packed(somewhere(), DType::kBFloat16, {2, 3, size(), 64}),
                       .b = packed(somewhere(), DType::kBFloat16, {2, 3, 64, size()}),
                       .c = packed(somewhere(), DType::kBFloat16, {2, 3, 8, 8})};
    Gemm whole = step;
    whole.c = packed(somewhere(), DType::kBFloat16, {2, 3, step.a.shape[2], step.b.shape[3]});
    const Product product = product_of(whole);
    ASSERT_EQ(alignment_of(product), Alignment::kWhole);
    const Varying n_varies = {.n = true};
    ASSERT_EQ(weakened(product, Alignment::kWhole, n_varies), product);
    const Product rows = weakened(product, Alignment::kRows, n_varies);
    ASSERT_EQ(alignment_of(rows), Alignment::kRows);
    ASSERT_EQ(rows.m, product.m);
    ASSERT_LT(rows.n, product.n);
    ASSERT_EQ(alignment_of(weakened(product, Alignment::kNone, {})), Alignment::kNone);
  }
}

TEST(PlannedPasts, CoverEveryPastInOrder) {
  for (const int64_t tokens : {1, 5, 8, 100}) {
    for (const int64_t capacity : {0, 1, 5, 100, 107, 1000, 131072}) {
      if (capacity != 0 && capacity < tokens) {
        continue;
      }
      Problem problem;
      problem.tokens = tokens;
      problem.cache_capacity = capacity;
      const std::vector<int64_t> pasts = planned_pasts(problem);
      ASSERT_FALSE(pasts.empty());
      EXPECT_EQ(pasts.front(), 0);
      EXPECT_TRUE(std::is_sorted(pasts.begin(), pasts.end()));
      EXPECT_EQ(std::set<int64_t>(pasts.begin(), pasts.end()).size(), pasts.size());
      EXPECT_LE(pasts.back(), problem.max_past());
      EXPECT_GT(pasts.back() + 8, problem.max_past());
      for (size_t i = 1; i < pasts.size(); ++i) {
        EXPECT_EQ((pasts[i] + tokens) % 8, 0);
      }
    }
  }
}

TEST(Support, SaysWhatIsMissing) {
  Problem problem;
  problem.device = {SEESAW_CPU, 0};
  const Support on_cpu = cublaslt_backend().supports(problem);
  EXPECT_FALSE(on_cpu.supported);
  EXPECT_NE(on_cpu.reason.find("NVIDIA GPUs"), std::string::npos) << on_cpu.reason;
  problem.device = {SEESAW_CUDA, 4711};
  const Support nowhere = cublaslt_backend().supports(problem);
  EXPECT_FALSE(nowhere.supported);
  EXPECT_FALSE(nowhere.reason.empty());
}

std::string why_not(const char* library) {
  EXPECT_EQ(setenv("SEESAW_CUBLASLT", library, 1), 0);
  CublasLt functions;
  const CublasLtAnswer answer = find_cublaslt(&functions);
  EXPECT_EQ(answer.functions, nullptr);
  for (const std::string& part :
       {std::string("baselines: SEESAW_CUBLASLT = ") + library,
        std::string(", allowed: libcublasLt.so."), std::string(". Install cuBLAS")}) {
    EXPECT_NE(answer.why_not.find(part), std::string::npos) << answer.why_not;
  }
  return answer.why_not;
}

TEST(CublasLtLibrary, AWrongPathIsRefusedWithTheLoadersReason) {
  const std::string reason = why_not("/nonexistent/libcublasLt.so");
  EXPECT_NE(reason.find("No such file"), std::string::npos) << reason;
}

TEST(CublasLtLibrary, EveryMinorVersionIsTaken) {
  ASSERT_EQ(setenv("SEESAW_CUBLASLT", FAKE_CUBLASLT_FITS, 1), 0);
  CublasLt functions;
  const CublasLtAnswer answer = find_cublaslt(&functions);
  EXPECT_EQ(answer.functions, &functions) << answer.why_not;
  EXPECT_NE(functions.set_preference, nullptr);
}

TEST(CublasLtLibrary, AnotherMajorVersionIsRefused) {
  const std::string reason = why_not(FAKE_CUBLASLT_OLD);
  EXPECT_NE(reason.find("(its version is 120103)"), std::string::npos) << reason;
}

TEST(CublasLtLibrary, MissingFunctionsAreNamed) {
  const std::string reason = why_not(FAKE_CUBLASLT_EMPTY);
  EXPECT_NE(reason.find("undefined symbol: cublasLtCreate"), std::string::npos) << reason;
}

// Likes every product, and remembers what it was asked for.
struct FakeCublasLt {
  static inline std::vector<int32_t> batches;

  static CublasLt functions() {
    batches.clear();
    CublasLt lt;
    lt.init_operation = [](cublasLtMatmulDesc_t, size_t, cublasComputeType_t, cudaDataType_t) {
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.set_operation = [](cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, const void*,
                          size_t) { return CUBLAS_STATUS_SUCCESS; };
    lt.init_layout = [](cublasLtMatrixLayout_t, size_t, cudaDataType, uint64_t, uint64_t, int64_t) {
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.set_layout = [](cublasLtMatrixLayout_t, cublasLtMatrixLayoutAttribute_t attribute,
                       const void* value, size_t) {
      if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) {
        batches.push_back(*static_cast<const int32_t*>(value));
      }
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.init_preference = [](cublasLtMatmulPreference_t, size_t) { return CUBLAS_STATUS_SUCCESS; };
    lt.set_preference = [](cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t,
                           const void*, size_t) { return CUBLAS_STATUS_SUCCESS; };
    lt.heuristic = [](cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                      cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                      cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t*,
                      int* found) {
      *found = 1;
      return CUBLAS_STATUS_SUCCESS;
    };
    return lt;
  }
};

// Algorithms are chosen for what is launched: 2^32 + 3 matrices would be 3 in 32 bits.
TEST(PlanProduct, AsksForNoMoreMatricesThanALaunchTakes) {
  for (const int64_t batch :
       {int64_t{3}, kMaxLaunchBatch, kMaxLaunchBatch + 1, (int64_t{1} << 32) + 3}) {
    const Product product =
        product_of({.a = packed(somewhere(), DType::kFloat32, {1, batch, 2, 4}),
                    .b = packed(somewhere(), DType::kFloat32, {1, batch, 4, 8}),
                    .c = packed(somewhere(), DType::kFloat32, {1, batch, 2, 8})});
    ASSERT_EQ(product.batch, batch);
    const CublasLt lt = FakeCublasLt::functions();
    const PlannedProduct planned = plan_product(lt, nullptr, product, {});
    EXPECT_EQ(planned.product, product);
    ASSERT_FALSE(FakeCublasLt::batches.empty());
    for (const int32_t asked : FakeCublasLt::batches) {
      EXPECT_EQ(asked, std::min(batch, kMaxLaunchBatch));
    }
  }
}

// One heuristic's answer for each distinct product, however many chunks there are.
TEST(MakePlan, SharesEqualProducts) {
  Problem problem;
  problem.model = SEESAW_BASELINE_CHUNKED_MLA;
  problem.batch = problem.num_heads = 1;
  problem.tokens = 100;
  problem.d_model = 16;
  problem.head_dim = problem.d_latent = 8;
  problem.chunk_size = 3;
  const CublasLt lt = FakeCublasLt::functions();
  CudaPlan plan;
  ASSERT_TRUE(make_plan(lt, nullptr, problem, &plan).ok());
  const ProductList& products = plan.pasts.front().products;
  EXPECT_EQ(products.size(), 3 + 2 * 34u);  // three projections, 34 chunks
  const std::set<std::shared_ptr<const PlannedProduct>> distinct(products.begin(), products.end());
  EXPECT_EQ(distinct.size(), 3 + 2 * 2u);  // the last chunk is another product
}

}  // namespace
}  // namespace seesaw::baselines
