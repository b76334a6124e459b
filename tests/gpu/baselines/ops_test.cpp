// Each operation on the GPU against plain loops in double, over shapes, types, layouts and masks.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <limits>
#include <memory>

#include "baselines/cuda/cuda_ops.hpp"
#include "kernels/cuda/device.hpp"
#include "mirror.hpp"

namespace seesaw::baselines::gpu_test {
namespace {

constexpr DType kTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};

class CublasHandle {
 public:
  CublasHandle() { cublaslt().functions->create(&handle_); }
  ~CublasHandle() { cublaslt().functions->destroy(handle_); }
  CublasHandle(const CublasHandle&) = delete;
  CublasHandle& operator=(const CublasHandle&) = delete;
  cublasLtHandle_t get() const { return handle_; }

 private:
  cublasLtHandle_t handle_ = nullptr;
};

// Runs steps on the GPU. Products are planned for what `planned` says, by default their own shapes.
class Gpu {
 public:
  CudaContext context() {
    workspace_.reserve(kMaxProductWorkspace);
    return {.lt = cublaslt().functions,
            .handle = handle_.get(),
            .workspace = {workspace_.as<void>(), kMaxProductWorkspace},
            .stream = stream_.get()};
  }

  Status run(const std::function<Status(Ops&)>& step) { return run_planned(step, {}); }

  Status run_product(const Gemm& step, const Gemm& planned) {
    return run_planned(
        [&](Ops& ops) { return ops.gemm(step); },
        {plan_product(*cublaslt().functions, handle_.get(),
                      product_of(bias_comes_first(planned) ? added_to_bias(planned) : planned))});
  }

 private:
  Status run_planned(const std::function<Status(Ops&)>& step,
                     const std::vector<PlannedProduct>& products) {
    Arena arena;
    const CudaContext here = context();
    CudaOps ops(arena, here, products);
    SEESAW_RETURN_IF_ERROR(step(ops));
    return cuda::status_of(cudaStreamSynchronize(stream_.get()), "test", "waiting");
  }

  CublasHandle handle_;
  DeviceBuffer workspace_;
  Stream stream_;
};

class OpsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(cublaslt().functions, nullptr) << cublaslt().why_not;
    gpu_ = std::make_unique<Gpu>();
  }

  // Memory of a step, which lives as long as the test.
  ViewPair tensor(DType dtype, Dims shape, int64_t offset = 0, double size = 1.0) {
    Mirror& mirror = mirrors_.emplace_back(dtype, count_of(shape), offset);
    mirror.fill(mirrors_.size(), size);
    return pair_of(mirror, shape);
  }
  // Filled with NaN, and the last of the tensors that are compared.
  ViewPair result(DType dtype, Dims shape, int64_t offset = 0) {
    return pair_of(mirrors_.emplace_back(dtype, count_of(shape), offset), shape);
  }
  ViewPair bytes(Dims shape, double visible, uint64_t seed) {
    masks_.emplace_back();
    HostAndDevice& mask = masks_.back();
    std::mt19937_64 engine(seed);
    std::bernoulli_distribution shown(visible);
    for (int64_t i = 0; i < count_of(shape); ++i) {
      mask.host.push_back(shown(engine) ? 1 : 0);
    }
    mask.device.reserve(mask.host.size());
    must(cudaMemcpy(mask.device.as<void>(), mask.host.data(), mask.host.size(),
                    cudaMemcpyHostToDevice),
         "mask");  // complete after the tensors' upload
    return {packed(mask.host.data(), DType::kUInt8, shape),
            packed(mask.device.as<void>(), DType::kUInt8, shape)};
  }

  void upload() {
    for (Mirror& mirror : mirrors_) {
      mirror.upload();
    }
  }
  // Every tensor, not only the result, is as the host has it.
  void expect_same(const Tolerance& allowed, const std::string& what) {
    for (Mirror& mirror : mirrors_) {
      ASSERT_EQ(mirror.difference(allowed), "") << what;
    }
    mirrors_.clear();
    masks_.clear();
  }
  Status host(const std::function<Status(Ops&)>& step) {
    Arena arena;
    HostOps ops(arena);
    return step(ops);
  }

  struct HostAndDevice {
    std::vector<uint8_t> host;
    DeviceBuffer device;
  };
  std::unique_ptr<Gpu> gpu_;
  std::deque<Mirror> mirrors_;
  std::deque<HostAndDevice> masks_;
};

enum class Layout { kRowMajor, kTransposed, kHeads };

struct ProductCase {
  DType in = DType::kFloat32;
  DType out = DType::kFloat32;
  Dims size{1, 1, 1, 1};  // [I, J, m, n] of c
  int64_t k = 1;
  Layout a = Layout::kRowMajor;
  Layout b = Layout::kRowMajor;
  Layout c = Layout::kRowMajor;
  bool one_b_inner = false;  // b's second dimension is 1
  bool one_b_outer = false;
  bool one_a_inner = false;
  bool bias = false;
  bool accumulate = false;
  int64_t offset = 0;   // of every tensor, elements
  int64_t padding = 0;  // of rows, elements

  std::string name() const {
    return fmt::format(
        "in {} out {} c [{}, {}, {}, {}] k {} layouts {} {} {} one {} {} {} bias {} accumulate {} "
        "offset {} padding {}",
        static_cast<int>(in), static_cast<int>(out), size[0], size[1], size[2], size[3], k,
        static_cast<int>(a), static_cast<int>(b), static_cast<int>(c), one_b_inner, one_b_outer,
        one_a_inner, bias, accumulate, offset, padding);
  }
};

// Dimensions as they lie in memory for a view of `shape`.
Dims stored(Dims shape, Layout layout, int64_t padding) {
  switch (layout) {
    case Layout::kTransposed:
      return {shape[0], shape[1], shape[3], shape[2] + padding};
    case Layout::kHeads:
      return {shape[0], shape[2], shape[1], shape[3] + padding};
    case Layout::kRowMajor:
      break;
  }
  return {shape[0], shape[1], shape[2], shape[3] + padding};
}

ViewPair seen(const ViewPair& memory, Layout layout, int64_t padding) {
  const ViewPair used = memory.slice(3, 0, memory.host.shape[3] - padding);
  switch (layout) {
    case Layout::kTransposed:
      return used.transposed();
    case Layout::kHeads:
      return used.permute({0, 2, 1, 3});
    case Layout::kRowMajor:
      break;
  }
  return used;
}

struct GemmPair {
  Gemm host;
  Gemm device;
};

class ProductTest : public OpsTest {
 protected:
  GemmPair make(const ProductCase& c) {
    const auto view = [&](DType dtype, Dims shape, Layout layout, bool poisoned) {
      const Dims memory = stored(shape, layout, c.padding);
      return seen(poisoned ? result(dtype, memory, c.offset) : tensor(dtype, memory, c.offset),
                  layout, c.padding);
    };
    const ViewPair a =
        view(c.in, {c.size[0], c.one_a_inner ? 1 : c.size[1], c.size[2], c.k}, c.a, false);
    const ViewPair b = view(c.in,
                            {c.one_b_outer ? 1 : c.size[0],
                             c.one_b_inner || c.one_b_outer ? 1 : c.size[1], c.k, c.size[3]},
                            c.b, false);
    const ViewPair out = view(c.out, c.size, c.c, !c.accumulate);
    const ViewPair bias =
        c.bias ? tensor(c.in, {1, 1, 1, c.size[3]}, c.offset) : ViewPair{View{}, View{}};
    return {{a.host, b.host, out.host, bias.host, c.accumulate},
            {a.device, b.device, out.device, bias.device, c.accumulate}};
  }

  void check(const ProductCase& c) { check(c, c); }

  // Planned for one case and run with another, as a run does whose past lies between planned ones.
  void check(const ProductCase& c, const ProductCase& planned) {
    const Gemm plan = make(planned).device;
    mirrors_.clear();
    const GemmPair step = make(c);
    upload();
    const Status status = gpu_->run_product(step.device, plan);
    ASSERT_TRUE(status.ok()) << status.message() << " " << c.name();
    ASSERT_TRUE(host([&](Ops& ops) { return ops.gemm(step.host); }).ok());
    expect_same(rounding_of(c.out, c.k + 2), c.name());
  }
};

ProductCase random_case(std::mt19937_64& engine) {
  const auto any = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine);
  };
  ProductCase c;
  c.in = kTypes[any(0, 2)];
  c.accumulate = any(0, 3) == 0;
  c.out = c.accumulate || any(0, 2) == 0 ? DType::kFloat32 : c.in;
  c.bias = !c.accumulate && any(0, 2) == 0;
  const bool round = any(0, 1) == 0;  // sizes that vector loads like
  const auto size = [&] { return any(0, 4) == 0 ? 1 : round ? 8 * any(1, 12) : any(1, 97); };
  c.size = {any(1, 3), any(1, 4), size(), size()};
  c.k = size();
  c.a = static_cast<Layout>(any(0, 2));
  c.b = static_cast<Layout>(any(0, 2));
  c.c = any(0, 1) == 0 ? Layout::kRowMajor : Layout::kHeads;
  c.one_b_inner = any(0, 2) == 0;
  c.one_b_outer = c.one_b_inner && any(0, 1) == 0;
  c.one_a_inner = !c.one_b_inner && any(0, 4) == 0;
  c.offset = any(0, 2) == 0 ? any(1, 9) : 0;
  c.padding = any(0, 2) == 0 ? any(1, 40) : 0;
  return c;
}

TEST_F(ProductTest, QuickRandomLayoutsAndTypes) {
  std::mt19937_64 engine(1);
  for (int i = 0; i < 60; ++i) {
    ASSERT_NO_FATAL_FAILURE(check(random_case(engine)));
  }
}

TEST_F(ProductTest, RandomLayoutsAndTypes) {
  std::mt19937_64 engine(2);
  for (int i = 0; i < 800; ++i) {
    ASSERT_NO_FATAL_FAILURE(check(random_case(engine)));
  }
}

TEST_F(ProductTest, ATokensRowAgainstLongKeys) {
  for (const DType dtype : kTypes) {
    ProductCase c;
    c.in = dtype;
    c.size = {2, 1, 128, 1111};
    c.k = 576;
    c.b = Layout::kTransposed;
    c.padding = 64;
    ASSERT_NO_FATAL_FAILURE(check(c));
    c.size = {1, 4, 1, 512};
    c.k = 4099;
    c.b = Layout::kRowMajor;
    c.out = dtype;
    ASSERT_NO_FATAL_FAILURE(check(c));
  }
}

TEST_F(ProductTest, MoreMatricesThanAGridHolds) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    ProductCase c;
    c.in = dtype;
    c.out = dtype;
    c.size = {65537, 1, 3, 2};
    c.k = 5;
    ASSERT_NO_FATAL_FAILURE(check(c));
  }
}

// An algorithm chosen for one number of keys does every other.
TEST_F(ProductTest, PlannedForOtherSizes) {
  for (const DType dtype : kTypes) {
    for (const int64_t keys : {1, 2, 7, 8, 63, 64, 100, 128, 129, 200, 256, 300}) {
      for (const int64_t planned_keys : {8, 256, 1024}) {
        ProductCase scores;  // q k^T
        scores.in = dtype;
        scores.size = {2, 3, 16, keys};
        scores.k = 64;
        scores.a = Layout::kHeads;
        scores.b = Layout::kTransposed;
        scores.padding = keys % 8 == 0 ? 0 : 32 - keys % 32;
        ProductCase planned = scores;
        planned.size[3] = planned_keys;
        planned.padding = 0;
        ASSERT_NO_FATAL_FAILURE(check(scores, planned));
        ProductCase values;  // p v
        values.in = dtype;
        values.out = dtype;
        values.size = {2, 3, 16, 64};
        values.k = keys;
        values.c = Layout::kHeads;
        values.padding = scores.padding;
        planned = values;
        planned.k = planned_keys;
        planned.padding = 0;
        ASSERT_NO_FATAL_FAILURE(check(values, planned));
      }
    }
  }
}

// TF32 would be off by 1e-3.
TEST_F(ProductTest, Float32IsFloat32) {
  ProductCase c;
  c.size = {1, 1, 64, 64};
  c.k = 1024;
  check(c);
}

TEST_F(ProductTest, SameInputsSameBits) {
  for (const DType dtype : kTypes) {
    ProductCase c;
    c.in = dtype;
    c.out = dtype;
    c.size = {1, 1, 8, 512};
    c.k = 8192;  // split over k
    const Gemm step = make(c).device;
    upload();
    ASSERT_TRUE(gpu_->run_product(step, step).ok());
    const std::vector<uint8_t> first = mirrors_.back().device_bytes();
    for (int repeat = 0; repeat < 20; ++repeat) {
      mirrors_.back().upload();
      ASSERT_TRUE(gpu_->run_product(step, step).ok());
      ASSERT_EQ(mirrors_.back().device_bytes(), first);
    }
    mirrors_.clear();
  }
}

class SoftmaxTest : public OpsTest {
 protected:
  void check(const Softmax& host_step, const Softmax& device_step) {
    upload();
    const Status status = gpu_->run([&](Ops& ops) { return ops.softmax(device_step); });
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_TRUE(host([&](Ops& ops) { return ops.softmax(host_step); }).ok());
    Tolerance allowed = rounding_of(host_step.probabilities.dtype, 1);
    allowed.relative += 4e-6;  // of expf and of the sum
    expect_same(allowed, fmt::format("keys {}", host_step.scores.shape[3]));
  }
};

TEST_F(SoftmaxTest, QuickLengthsMasksAndTypes) {
  uint64_t seed = 0;
  for (const int64_t keys : {1, 2, 31, 32, 33, 255, 256, 257, 1000, 4097, 20000}) {
    for (const DType dtype : kTypes) {
      for (const Visible visible : {Visible::kAll, Visible::kCausal}) {
        for (const double shown : {2.0, 0.5, 0.02, 0.0}) {  // 2: no mask
          const Dims shape = {2, 3, 4, keys};
          const Dims padded = {2, 3, 4, keys + 5};
          const ViewPair scores = tensor(DType::kFloat32, padded, 0, 8.0).slice(3, 0, keys);
          const ViewPair out = result(dtype, padded).slice(3, 0, keys);
          ViewPair mask = shown > 1.0 ? ViewPair{} : bytes({2, 1, 4, keys}, shown, ++seed);
          for (View* each : {&mask.host, &mask.device}) {
            each->shape = shape;
            each->stride[1] = 0;  // all heads
          }
          const int64_t first = keys / 2 - 1;  // from -1: the first rows see nothing
          check({scores.host, mask.host, out.host, -0.7F, visible, first},
                {scores.device, mask.device, out.device, -0.7F, visible, first});
          ASSERT_FALSE(HasFatalFailure());
        }
      }
    }
  }
}

TEST_F(SoftmaxTest, InPlaceAndByHeads) {
  // Rows of (token, head) pairs, as the absorbed form has them.
  ViewPair rows = tensor(DType::kFloat32, {2, 5, 3, 700});
  rows = rows.permute({0, 2, 1, 3});
  check({rows.host, {}, rows.host, 3.0F, Visible::kCausal, 690},
        {rows.device, {}, rows.device, 3.0F, Visible::kCausal, 690});
}

TEST_F(SoftmaxTest, NanAndInfinity) {
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  const ViewPair scores = tensor(DType::kFloat32, {1, 1, 5, 300});
  const ViewPair out = result(DType::kBFloat16, {1, 1, 5, 300});
  auto* values = static_cast<float*>(scores.host.data);
  values[0 * 300 + 299] = nan;                // row 0: seen
  values[1 * 300 + 7] = -infinity;            // row 1: a probability of 0
  std::fill_n(values + 600, 300, -infinity);  // row 2: NaN, as 0 / 0
  values[3 * 300 + 8] = infinity;             // row 3: NaN, as infinity / infinity
  check({scores.host, {}, out.host}, {scores.device, {}, out.device});
}

TEST_F(SoftmaxTest, HiddenNanStaysHidden) {
  const ViewPair scores = tensor(DType::kFloat32, {1, 1, 2, 40});
  const ViewPair out = result(DType::kFloat16, {1, 1, 2, 40});
  static_cast<float*>(scores.host.data)[39] = std::nanf("");
  check({scores.host, {}, out.host, 1.0F, Visible::kCausal, 3},
        {scores.device, {}, out.device, 1.0F, Visible::kCausal, 3});
}

TEST_F(OpsTest, QuickRmsNorm) {
  for (const DType dtype : kTypes) {
    for (const int64_t width : {1, 7, 64, 255, 512, 1536}) {
      for (const bool in_place : {false, true}) {
        const ViewPair x = tensor(dtype, {2, 1, 3, width + 64}, 1, 3.0).slice(3, 0, width);
        const ViewPair weight = tensor(dtype, {1, 1, 1, width}, 3);
        const ViewPair out =
            in_place ? x : result(dtype, {2, 1, 5, width + 9}).slice(2, 1, 4).slice(3, 0, width);
        upload();
        const Status status = gpu_->run([&](Ops& ops) {
          return ops.rms_norm({x.device, weight.device, out.device, 1e-3F});
        });
        ASSERT_TRUE(status.ok()) << status.message();
        ASSERT_TRUE(host([&](Ops& ops) {
                      return ops.rms_norm({x.host, weight.host, out.host, 1e-3F});
                    }).ok());
        ASSERT_NO_FATAL_FAILURE(expect_same(rounding_of(dtype, 1), fmt::format("width {}", width)));
      }
    }
  }
}

TEST_F(OpsTest, QuickRotary) {
  for (const DType dtype : kTypes) {
    for (const int64_t heads : {1, 3, 8, 17}) {
      for (const int64_t width : {2, 6, 64}) {
        const ViewPair x =
            tensor(dtype, {2, 3, heads, width + 4}).permute({0, 2, 1, 3}).slice(3, 4, width + 4);
        const ViewPair out = result(dtype, {2, heads, 3, width});
        const int64_t far = int64_t{1} << 20;  // where angles in float32 would be off
        upload();
        const Status status = gpu_->run([&](Ops& ops) {
          return ops.rotary({x.device, out.device, {}, far, 10000.0});
        });
        ASSERT_TRUE(status.ok()) << status.message();
        ASSERT_TRUE(host([&](Ops& ops) {
                      return ops.rotary({x.host, out.host, {}, far, 10000.0});
                    }).ok());
        ASSERT_NO_FATAL_FAILURE(expect_same(rounding_of(dtype, 1), fmt::format("heads {}", heads)));
      }
    }
  }
}

TEST_F(OpsTest, RotaryWithPositionsInPlace) {
  std::vector<int32_t> positions = {5, 0, 131071, 7, 7, 12};
  DeviceBuffer there(positions.size() * sizeof(int32_t));
  must(cudaMemcpy(there.as<void>(), positions.data(), there.bytes(), cudaMemcpyHostToDevice),
       "positions");
  const ViewPair x = tensor(DType::kBFloat16, {2, 4, 3, 32});
  const View host_positions = packed(positions.data(), DType::kInt32, {2, 1, 3, 1});
  const View device_positions = packed(there.as<void>(), DType::kInt32, {2, 1, 3, 1});
  upload();
  ASSERT_TRUE(gpu_->run([&](Ops& ops) {
                    return ops.rotary({x.device, x.device, device_positions, 99, 1e6});
                  })
                  .ok());
  ASSERT_TRUE(host([&](Ops& ops) {
                return ops.rotary({x.host, x.host, host_positions, 99, 1e6});
              }).ok());
  expect_same(rounding_of(DType::kBFloat16, 1), "positions");
}

TEST_F(OpsTest, QuickCopiesConvertAndTranspose) {
  constexpr std::array<size_t, 4> kOrders[] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 1, 3, 2},
                                               {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};
  for (const DType from_type : kTypes) {
    for (const DType to_type : kTypes) {
      for (const auto& order : kOrders) {
        for (const Dims& shape : {Dims{2, 3, 33, 65}, Dims{1, 1, 1, 300}, Dims{70, 5, 1, 2}}) {
          const ViewPair from = tensor(from_type, {shape[0], shape[1], shape[2], shape[3] + 3}, 1)
                                    .slice(3, 0, shape[3])
                                    .permute(order);
          const ViewPair to = result(to_type, from.host.shape, 1);
          upload();
          const Status status =
              gpu_->run([&](Ops& ops) { return ops.copy(from.device, to.device); });
          ASSERT_TRUE(status.ok()) << status.message();
          ASSERT_TRUE(host([&](Ops& ops) { return ops.copy(from.host, to.host); }).ok());
          ASSERT_NO_FATAL_FAILURE(expect_same({}, "copy"));  // exact: both round to nearest even
        }
      }
    }
  }
}

TEST_F(OpsTest, CopyRepeatsARow) {
  const ViewPair row = tensor(DType::kFloat16, {1, 1, 1, 77});
  const ViewPair to = result(DType::kFloat32, {2, 70000, 1, 77});
  ViewPair from = row;
  for (View* each : {&from.host, &from.device}) {
    each->shape = to.host.shape;
    each->stride = {0, 0, 0, 1};
  }
  upload();
  ASSERT_TRUE(gpu_->run([&](Ops& ops) { return ops.copy(from.device, to.device); }).ok());
  ASSERT_TRUE(host([&](Ops& ops) { return ops.copy(from.host, to.host); }).ok());
  expect_same({}, "a row");
}

}  // namespace
}  // namespace seesaw::baselines::gpu_test
