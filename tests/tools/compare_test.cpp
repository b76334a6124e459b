// seesaw compare from inside: predictions against numbers counted by hand, the notes' formulas and
// claims, what is measured and what is said of it, the plots. The fits: compare_fit_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "compare/claims.hpp"
#include "compare/device_ceilings.hpp"
#include "compare/fit.hpp"
#include "compare/formula.hpp"
#include "compare/measure.hpp"
#include "compare/memory.hpp"
#include "compare/report.hpp"
#include "compare/shape.hpp"
#include "compare/svg.hpp"
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

// The digest's example: H 32, N 2048, D = D' = 64.
TEST(CompareFormula, NotesExample) {
  constexpr NotesModel model = notes_model({1, 2048, 32, 64, 64});
  EXPECT_EQ(model.mha, 17179869184.0);
  EXPECT_EQ(model.mla_ideal, 536870912.0 + 8388608.0);
  EXPECT_EQ(model.overhead, 805306368.0 + 268435456.0);
  EXPECT_NEAR(model.ideal_speed_up(), 31.5, 0.01);  // printed: 16.0
  EXPECT_NEAR(model.speed_up(), 10.61, 0.01);       // printed: 2.1
  EXPECT_NEAR(model.overhead_ratio(), 1.97, 0.01);  // printed: 6.6
  EXPECT_EQ(model.mha_bytes, 536870912.0);
}

Row measured_row(System system, double us, double speed_up) {
  Row row;
  row.setting = setting_of({1, 2048, 32, 64, 64}, SEESAW_FLOAT32);
  row.contender = {system, system == System::kMha ? 0 : 64, 0};
  row.us = {us, us, us};
  row.speed_up = Spread{speed_up, speed_up, speed_up};
  row.peak_bytes = 1;
  row.ceilings = {100, 10, ""};
  return row;
}

const ClaimAnswer& answer_to(const std::vector<ClaimAnswer>& answers, const std::string& text) {
  for (const ClaimAnswer& answer : answers) {
    if (answer.claim.text == text) {
      return answer;
    }
  }
  throw std::runtime_error("no claim: " + text);
}

TEST(CompareClaims, AnswersComeFromTheRightRows) {
  const std::vector<Row> rows = {measured_row(System::kMha, 12000, 1),
                                 measured_row(System::kTraditional, 6000, 2),
                                 measured_row(System::kChunked, 3000, 4)};
  const std::vector<ClaimAnswer> answers = answer_claims(rows, {}, SEESAW_FLOAT32, false);
  EXPECT_EQ(answers.size(), notes_claims().size());
  const ClaimAnswer& speed_up = answer_to(answers, "speed-up (1, 2048, 32, 64)");
  EXPECT_EQ(speed_up.plain, 2.0);
  EXPECT_EQ(speed_up.chunked, 4.0);
  EXPECT_EQ(speed_up.verdict, "plain: as claimed; chunked: 1.9 times the printed value");
  const ClaimAnswer& time = answer_to(answers, "multi-head attention, ms (32, 2048, 64)");
  EXPECT_EQ(time.mha, 12.0);
  EXPECT_EQ(time.verdict, "multi-head attention here: as claimed");
  EXPECT_EQ(answer_to(answers, "speed-up (1, 4096, 32, 64)").verdict, "not measured in this run");
  EXPECT_EQ(answer_to(answers, "bandwidth used in decoding").verdict, "not measured: needs a GPU");
  for (const ClaimAnswer& answer : answers) {
    EXPECT_NE(answer.verdict, "") << answer.claim.text;
  }
}

TEST(CompareClaims, AnswersAreOfOneDtypeWhichIsNamed) {
  CompareReport report;
  report.claims_dtype = SEESAW_BFLOAT16;
  report.rows = {measured_row(System::kMha, 12000, 1), measured_row(System::kTraditional, 6000, 2)};
  report.claims = answer_claims(report.rows, {}, report.claims_dtype, false);  // rows: float32
  EXPECT_FALSE(answer_to(report.claims, "speed-up (1, 2048, 32, 64)").plain);
  EXPECT_EQ(compare_json(report)["claims_dtype"], "bfloat16");
  EXPECT_NE(sections_of(report).back().note.find("layers in bf16"), std::string::npos);
}

TEST(CompareClaims, MemoryThatCannotBeMeasuredIsNotZero) {
  std::vector<Row> rows = {measured_row(System::kMha, 12000, 1),
                           measured_row(System::kTraditional, 6000, 2)};
  const auto claim = [&] {
    return answer_to(answer_claims(rows, {}, SEESAW_FLOAT32, false), "memory (1, 2048, 32, 64)");
  };
  EXPECT_EQ(claim().mha, 1e-9);
  EXPECT_NE(claim().verdict.find("measured"), std::string::npos);
  rows[0].peak_bytes = 0;
  rows[1].peak_bytes = 0;
  EXPECT_FALSE(claim().mha || claim().plain);
  EXPECT_EQ(claim().verdict.find("measured"), std::string::npos) << claim().verdict;
}

TEST(CompareClaims, CountersAnswerForTheirLayers) {
  CountersReport counters;
  for (const Contender& contender : claim_contenders(counters_shape())) {
    const double hits = contender.system == System::kTraditional ? 46 : 90;
    counters.layers.push_back({contender, {}, {"", {{"l1tex__t_sector_hit_rate.pct", hits}}}});
  }
  const std::vector<ClaimAnswer> answers = answer_claims({}, counters, SEESAW_FLOAT32, true);
  const ClaimAnswer& hits = answer_to(answers, "L1 hits, %");
  EXPECT_EQ(hits.plain, 46);
  EXPECT_EQ(hits.mha, 90);
  EXPECT_EQ(hits.verdict, "plain: as claimed; chunked: 2 times the printed value");
  EXPECT_TRUE(answer_to(answers, "tensor cores, %").verdict.starts_with("not measured"));
}

TEST(CompareClaims, FormulaVerdictsSayThatTheyDoNotFollow) {
  const std::vector<ClaimAnswer> answers = answer_claims({}, {}, SEESAW_FLOAT32, false);
  EXPECT_NE(answers[0].verdict.find("the notes' formula gives 31.5, not this"), std::string::npos);
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

TEST(CompareCeilings, FollowTheDtype) {
  const DeviceCeilings ceilings = {100, 200, 0, 10, ""};
  EXPECT_EQ(ceilings_of(ceilings, SEESAW_BFLOAT16, false).peak_gflops, 200);
  EXPECT_EQ(ceilings_of(ceilings, SEESAW_BFLOAT16, true).peak_gflops, 100);
  EXPECT_EQ(ceilings_of(ceilings, SEESAW_FLOAT16, false).peak_gflops, 100);
  EXPECT_EQ(ceilings_of(ceilings, SEESAW_FLOAT32, false).read_gbps, 10);
}

TEST(CompareCeilings, AreNotMeasuredWithMoreThreadsThanCpus) {
  const std::unique_ptr<Device> device = open_device(kCpu);
  const int threads = std::min(3, describe_machine().logical_cpus);
  const std::string method = measure_ceilings(*device, 3).method;
  EXPECT_NE(method.find("; " + std::to_string(threads) + " threads"), std::string::npos) << method;
}

TEST(CompareReport, GroupsBeginWithMultiHeadAttentionOrAnotherSetting) {
  std::vector<Row> rows = {measured_row(System::kMha, 1, 1), measured_row(System::kChunked, 1, 1),
                           measured_row(System::kMha, 1, 1),
                           measured_row(System::kDenseDecode, 1, 1)};
  rows[3].setting.len = 7;
  const std::vector<Group> groups = groups_of(rows);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].end, 2u);
  EXPECT_EQ(groups[1].begin, 2u);
  EXPECT_EQ(groups[2].begin, 3u);
}

// Two small groups on this CPU: with multi-head attention first, and without it.
TEST(CompareMeasure, SpeedUpsAreOverMultiHeadAttentionOrNone) {
  const std::unique_ptr<Device> device = open_device(kCpu);
  const Bench bench{*device, {device->id(), 1}, {}, {0, 1, 1, 0}};
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
  report.claims = answer_claims(report.rows, {}, SEESAW_FLOAT32, false);
  const ClaimAnswer& claim = answer_to(report.claims, "speed-up (1, 2048, 32, 64)");
  EXPECT_FALSE(claim.plain || claim.chunked);
  EXPECT_EQ(claim.verdict, "not measured in this run");
  EXPECT_FALSE(answer_to(report.claims, "efficiency = speed-up / heads, row 2").plain);
  const nlohmann::ordered_json json = compare_json(report);
  EXPECT_TRUE(json["rows"][1]["speed_up"].is_null());
  EXPECT_TRUE(json["theory"][0]["measured_speed_up"].is_null());
  const std::vector<Section> sections = sections_of(report);
  EXPECT_EQ(sections[0].rows[1][9], "-");  // speed-up of the times
  EXPECT_TRUE(sections[1].rows.empty());   // theory against measured
  EXPECT_EQ(compare_html(report).find("0.00x"), std::string::npos);
  EXPECT_TRUE(findings_of(report).empty());
}

// A point of the study with these errors in fp32.
TradeoffPoint point_of(System system, int64_t latent, double relative) {
  TradeoffPoint point;
  point.contender = {system, latent, 0};
  point.compression = 8;
  point.errors[0].error.relative = relative;
  point.own_errors[0].error.relative = relative;
  return point;
}

CompareReport report_of(const std::vector<TradeoffPoint>& points) {
  CompareReport report;
  report.tradeoff.emplace();
  report.tradeoff->full_rank = 64;
  report.tradeoff->full_latent = 32;
  report.tradeoff->points = points;
  return report;
}

TEST(CompareFindings, FullRankIsSaidOnlyOfTheFullRank) {
  const std::vector<std::string> full = findings_of(
      report_of({point_of(System::kExpanded, 64, 1e-6), point_of(System::kExpanded, 16, 0.5),
                 point_of(System::kTraditional, 32, 1.2)}));
  ASSERT_EQ(full.size(), 2u);
  EXPECT_NE(full[0].find("exact at full rank (relative error 1.0e-06 in fp32); at rank 16 "),
            std::string::npos)
      << full[0];
  EXPECT_NE(full[1].find("even at full rank its distance"), std::string::npos) << full[1];
  const std::vector<std::string> cut = findings_of(
      report_of({point_of(System::kExpanded, 16, 0.79), point_of(System::kExpanded, 2, 0.9),
                 point_of(System::kTraditional, 16, 1.2)}));
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_EQ(cut[0].find("full rank"), std::string::npos) << cut[0];
  EXPECT_NE(cut[0].find("at rank 16 of 64 is not exact (relative error 7.9e-01"), std::string::npos)
      << cut[0];
  EXPECT_NE(cut[1].find("at rank 16 of 32 its distance"), std::string::npos) << cut[1];
}

TEST(CompareFindings, WhatWasNotMeasuredOrIsNotFiniteIsNotSaid) {
  std::vector<TradeoffPoint> points = {point_of(System::kExpanded, 64, 1e-6),
                                       point_of(System::kExpanded, 16, 0.5),
                                       point_of(System::kTraditional, 32, 1.2)};
  points[1].errors[0].why_not = "no kernel";
  points[2].own_errors[0].why_not = "no kernel";
  const std::vector<std::string> findings = findings_of(report_of(points));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].find("rank 16"), std::string::npos) << findings[0];
  EXPECT_TRUE(findings_of(report_of({point_of(System::kExpanded, 64, std::nan("")),
                                     point_of(System::kTraditional, 32, HUGE_VAL)}))
                  .empty());
}

TEST(CompareSvg, EscapesAndSkipsWhatCannotBeDrawn) {
  EXPECT_EQ(escaped("a<b> & \"c\"\n"), "a&lt;b&gt; &amp; &quot;c&quot; ");
  const std::string linear = svg(LinePlot{"t",
                                          "x",
                                          "y",
                                          Scale::kLog,
                                          Scale::kLinear,
                                          {{"zero on a linear axis", {{1, 0}, {2, 1}}, 0}}});
  EXPECT_NE(linear.find("zero on a linear axis: 1, 0"), std::string::npos);
  const std::string plot =
      svg(DotPlot{"t", "u", {"s"}, {{"ok", {2}}, {"zero", {0}}, {"nan", {std::nan("")}}}});
  EXPECT_NE(plot.find("<circle"), std::string::npos);
  EXPECT_EQ(plot.find("nan,"), std::string::npos);
  EXPECT_EQ(plot.find("\"nan\""), std::string::npos);
  EXPECT_EQ(plot.find("inf"), std::string::npos);
  EXPECT_NE(svg(LinePlot{}).find("nothing was measured"), std::string::npos);
}

}  // namespace
}  // namespace seesaw::tools
