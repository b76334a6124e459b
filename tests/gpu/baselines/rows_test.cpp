// Softmax, RMS norm, rotary embedding and copies on the GPU against plain loops in double.
#include <cmath>
#include <limits>

#include "ops_fixture.hpp"

namespace seesaw::baselines::gpu_test {
namespace {

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

TEST_F(OpsTest, QuickCopyOfEverySecondElement) {
  for (const DType dtype : kTypes) {
    ViewPair from = tensor(DType::kFloat32, {2, 3, 40, 70});
    ViewPair to = result(dtype, {2, 3, 40, 70});
    for (View* each : {&from.host, &from.device, &to.host, &to.device}) {
      each->shape[3] = 35;
      each->stride[3] = 2;
    }
    upload();
    ASSERT_TRUE(gpu_->run([&](Ops& ops) { return ops.copy(from.device, to.device); }).ok());
    ASSERT_TRUE(host([&](Ops& ops) { return ops.copy(from.host, to.host); }).ok());
    ASSERT_NO_FATAL_FAILURE(expect_same({}, "every second"));
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
