// Matrix products on the GPU against plain loops in double, over shapes, types and layouts.
#include "ops_fixture.hpp"

namespace seesaw::baselines::gpu_test {
namespace {

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

}  // namespace
}  // namespace seesaw::baselines::gpu_test
