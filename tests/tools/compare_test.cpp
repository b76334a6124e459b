// seesaw compare from inside: predictions against numbers counted by hand, what is measured and how
// it is written. The fits: compare_fit_test.cpp; what is drawn of it: tests/python/test_report.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "compare/device_roofs.hpp"
#include "compare/fit.hpp"
#include "compare/measure.hpp"
#include "compare/memory.hpp"
#include "compare/report.hpp"
#include "compare/request.hpp"
#include "compare/shape.hpp"
#include "machine.hpp"

namespace seesaw::tools {
namespace {

Setting small_setting() {
  Setting setting;
  setting.len = 4;
  setting.heads = 2;
  setting.head_dim = 8;
  return setting;
}

// Multi-head attention, B 1, N 4, H 2, D 8: four products [4, 16] x [16, 16], and per head
// [4, 8] x [8, 4] and [4, 4] x [4, 8].
TEST(ComparePrediction, MultiHeadAttentionByHand) {
  const Prediction p = predict(small_setting(), {System::kMha, 0, 0}, {});
  EXPECT_EQ(p.attention_operations, 2 * (2 * 4 * 8 * 4 + 2 * 4 * 4 * 8));
  EXPECT_EQ(p.operations - p.attention_operations, 4 * 2 * 4 * 16 * 16);
  EXPECT_EQ(p.parameters, 4u * (16 * 16 + 16));
  EXPECT_EQ(p.weight_bytes, p.parameters * 4);
  EXPECT_EQ(p.cache_bytes_per_token, 2u * 2 * 8 * 4);
}

// Traditional MLA, D' 3: q, k, v and output as above, three [4, 16] x [16, 3], reconstruction
// [4, 3] x [3, 16]; one attention pattern [4, 3] x [3, 4], [4, 4] x [4, 3].
TEST(ComparePrediction, TraditionalByHand) {
  const Prediction p = predict(small_setting(), {System::kTraditional, 3, 0}, {});
  EXPECT_EQ(p.attention_operations, 2 * 4 * 3 * 4 + 2 * 4 * 4 * 3);
  EXPECT_EQ(p.operations - p.attention_operations,
            4 * 2 * 4 * 16 * 16 + 3 * 2 * 4 * 16 * 3 + 2 * 4 * 3 * 16);
  EXPECT_EQ(p.cache_bytes_per_token, 2u * 3 * 4);
}

// Decoding, absorbed, 4 keys, L 6, R 2: attention of one row of each head over rows of 8 and 6.
TEST(ComparePrediction, AbsorbedDecodingByHand) {
  Setting setting = small_setting();
  setting.phase = Phase::kDecode;
  const Prediction p = predict(setting, {System::kAbsorbed, 6, 2}, {});
  EXPECT_EQ(p.attention_operations, 2 * (2 * 4 * 8 + 2 * 4 * 6));
  EXPECT_EQ(p.cache_bytes_per_token, (6u + 2) * 4);
  const Prediction kernel = predict(setting, {System::kDenseDecode, 6, 2}, {});
  EXPECT_EQ(kernel.operations, p.attention_operations);
  EXPECT_EQ(kernel.cache_bytes_per_token, p.cache_bytes_per_token);
}

Row measured_row(System system, double us, double speed_up) {
  Row row;
  row.setting = counters_setting();
  row.contender = {system, system == System::kMha ? 0 : 64, 0};
  row.us = {us, us, us};
  row.speed_up = Spread{speed_up, speed_up, speed_up};
  row.peak_bytes = 1;
  row.roofs = {100, 10, ""};
  return row;
}

// Every shape that a claim of the study notes is held against is measured, and no other.
TEST(CompareClaims, ShapesAreThoseOfTheDataFile) {
  const auto notes = nlohmann::json::parse(std::ifstream(SEESAW_CLAIMS));
  std::set<std::vector<int64_t>> claimed;
  for (const auto& [name, shape] : notes["shapes"].items()) {
    claimed.insert(shape.get<std::vector<int64_t>>());
  }
  std::set<std::vector<int64_t>> measured;
  for (const ClaimGroup& group : claim_groups(SEESAW_BFLOAT16, false)) {
    const Setting& s = group.setting;
    EXPECT_EQ(s.dtype, SEESAW_BFLOAT16);
    measured.insert({s.batch, s.len, s.heads, s.head_dim, group.contenders[1].latent});
  }
  EXPECT_EQ(claimed, measured);
  EXPECT_EQ(claim_groups(SEESAW_FLOAT32, true).size(), claimed.size() + 2);  // and decoding
}

TEST(CompareMemory, SeesWhatIsTakenAndGivenBack) {
  const std::unique_ptr<Device> device = open_device(kCpu);
  const MemoryMeter meter(*device);
  if (!meter.usable()) {
    GTEST_SKIP() << "this system does not let a process reset its peak";
  }
  constexpr size_t kBytes = size_t{64} << 20;
  {
    const DeviceBuffer buffer(*device, kBytes);
    std::memset(buffer.data(), 1, kBytes);
  }
  EXPECT_GE(meter.growth_bytes(), kBytes - (kBytes >> 4));
  EXPECT_LE(meter.growth_bytes(), 2 * kBytes);
}

TEST(CompareRoofs, FollowTheDtype) {
  const DeviceRoofs roofs = {100, 200, 0, 10, ""};
  EXPECT_EQ(roofs_of(roofs, SEESAW_BFLOAT16, false).peak_gflops, 200);
  EXPECT_EQ(roofs_of(roofs, SEESAW_BFLOAT16, true).peak_gflops, 100);
  EXPECT_EQ(roofs_of(roofs, SEESAW_FLOAT16, false).peak_gflops, 100);
  EXPECT_EQ(roofs_of(roofs, SEESAW_FLOAT32, false).read_gbps, 10);
}

TEST(CompareRoofs, AreNotMeasuredWithMoreThreadsThanCpus) {
  const std::unique_ptr<Device> device = open_device(kCpu);
  const int threads = std::min(3, describe_machine().logical_cpus);
  const std::string method = measure_roofs(*device, 3).method;
  EXPECT_NE(method.find("; " + std::to_string(threads) + " threads"), std::string::npos) << method;
}

// Two small groups on this CPU: with multi-head attention first, and without it.
TEST(CompareMeasure, SpeedUpsAreOverMultiHeadAttentionOrNone) {
  const std::unique_ptr<Device> device = open_device(kCpu);
  const Bench bench{*device, {device->id(), 1}, {}, {0, 1, 1, 0}, {}};
  const Contender mha = {System::kMha, 0, 0};
  const Contender traditional = {System::kTraditional, 8, 0};
  const std::vector<Row> rows = measure_group(bench, small_setting(), {mha, traditional});
  if (!rows[0].measured()) {
    GTEST_SKIP() << rows[0].why_not;
  }
  ASSERT_TRUE(rows[0].speed_up && rows[1].speed_up);
  EXPECT_EQ(rows[0].speed_up->median, 1);
  const std::vector<Row> alone = measure_group(bench, small_setting(), {traditional, mha});
  EXPECT_TRUE(alone[0].measured() && alone[1].measured());
  EXPECT_FALSE(alone[0].speed_up || alone[1].speed_up);
}

TEST(CompareReport, WithoutMultiHeadAttentionThereIsNoSpeedUp) {
  CompareReport report;
  report.rows = {measured_row(System::kMha, 0, 1), measured_row(System::kTraditional, 6000, 1),
                 measured_row(System::kChunked, 3000, 1)};
  report.rows[0].why_not = "needs about 1 TiB";
  for (Row& row : report.rows) {
    row.speed_up.reset();
  }
  const nlohmann::ordered_json json = compare_json(report);
  EXPECT_TRUE(json["rows"][1]["speed_up"].is_null());
  const std::string text = compare_text(report);
  EXPECT_NE(text.find("not run: needs about 1 TiB"), std::string::npos) << text;
  EXPECT_EQ(text.find("0.00"), text.find("0.000")) << text;  // no speed-up of 0
}

TEST(CompareReport, WhatIsNotFiniteIsNull) {
  CompareReport report;
  report.precision = {{small_setting(), {System::kMha, 0, 0}, {{std::nan(""), HUGE_VAL}, "", 0}}};
  const nlohmann::ordered_json json = compare_json(report);
  EXPECT_TRUE(json["precision"][0]["relative"].is_null());
  EXPECT_TRUE(json["precision"][0]["largest"].is_null());
}

}  // namespace
}  // namespace seesaw::tools
