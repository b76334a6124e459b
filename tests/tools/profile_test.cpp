// What profile makes of spans and of ncu's output.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "error.hpp"
#include "profile/ncu.hpp"
#include "profile/timeline.hpp"

namespace seesaw::tools {
namespace {

std::string joined(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) {
    text.append(sentence).append("\n");
  }
  return text;
}

bool mentions(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

seesaw_trace_span span(const char* step, int32_t worker, int32_t part, int32_t sequence,
                       int32_t tile, double begin_us, double end_us, int32_t row_group = 0) {
  return {step, worker, part, sequence, row_group, tile, 0, begin_us, end_us};
}

// Two workers; the second has twice the work, the first waits for it.
std::vector<seesaw_trace_span> uneven() {
  return {span("pack", 0, 0, 0, 0, 0, 30), span("scores", 0, 0, 0, 0, 30, 50),
          span("wait", 0, 0, -1, -1, 50, 100), span("pack", 1, 0, 1, 0, 0, 60),
          span("scores", 1, 0, 1, 0, 60, 100)};
}

TEST(Timeline, SharesLanesAndReading) {
  const TimelineSummary summary = summarise(uneven(), {});
  EXPECT_DOUBLE_EQ(summary.total_us, 100);
  ASSERT_EQ(summary.steps.size(), 3U);
  EXPECT_EQ(summary.steps[0].step, "pack");
  EXPECT_DOUBLE_EQ(summary.steps[0].share, 0.45);
  EXPECT_DOUBLE_EQ(summary.steps[2].share, 0.25);
  EXPECT_DOUBLE_EQ(summary.working_share, 0.75);
  EXPECT_DOUBLE_EQ(summary.end_over_mean, 0.25);
  ASSERT_EQ(summary.lanes.size(), 2U);
  EXPECT_DOUBLE_EQ(summary.lanes[0].end_us, 50);  // waiting is not work
  const std::string reading = joined(timeline_reading(summary));
  EXPECT_TRUE(mentions(reading, "Most time goes to \"pack\": 45.0 %")) << reading;
  EXPECT_TRUE(mentions(reading, "the load is uneven")) << reading;
  EXPECT_TRUE(mentions(reading, "25.0 % is waiting")) << reading;
  EXPECT_TRUE(mentions(reading, "Packing takes 45.0 %")) << reading;
  EXPECT_TRUE(mentions(timeline_text(summary), "accumulate") == false);
  EXPECT_EQ(timeline_json(summary)["steps"].size(), 3U);
}

TEST(Timeline, AnEvenLoadIsCalledEven) {
  const TimelineSummary summary =
      summarise({span("scores", 0, 0, 0, 0, 0, 100), span("scores", 1, 0, 1, 0, 1, 99)}, {});
  EXPECT_TRUE(mentions(joined(timeline_reading(summary)), "the load is even"));
}

TEST(Timeline, AGpusSteadyStateIsGivenByTheTile) {
  const TimelineSummary summary =
      summarise({span("launch", -1, 0, -1, -1, 0, 5), span("first tile", 0, 0, 3, 8, 5, 9),
                 span("first pair", 0, 0, 3, 8, 9, 12), span("steady", 0, 0, 3, 8, 12, 32)},
                {{0, 3, 0, 8, 20, -1}});
  EXPECT_DOUBLE_EQ(summary.steady_us_a_tile, 2);  // 12 tiles, the first two not counted
  ASSERT_EQ(summary.lanes.size(), 1U);            // the launch is nobody's
}

// The same tiles of one sequence once a row group: 8 tiles in 12 us, then 22 in 40.
TEST(Timeline, PiecesOfRowGroupsAreApart) {
  const TimelineSummary summary =
      summarise({span("steady", 0, 0, 3, 0, 5, 17, 0), span("steady", 0, 0, 3, 0, 20, 60, 1)},
                {{0, 3, 0, 0, 8, -1}, {0, 3, 1, 0, 22, -1}});
  EXPECT_DOUBLE_EQ(summary.steady_us_a_tile, (12.0 + 40.0) / (6 + 20));
}

// Steps of tiles lie inside of the steps of lanes: they are no lanes, and no share of their time.
TEST(Timeline, StepsOfTilesAreApart) {
  std::vector<seesaw_trace_span> spans = uneven();
  const TimelineSummary without = summarise(spans, {});
  for (const double us : {40.0, 3.0, 1.0, 2.0}) {  // the first tile waits for the start
    spans.push_back(span("score", 0, 1, -1, us == 40.0 ? 0 : 1, 10, 10 + us));
    spans.back().of_tile = 1;
  }
  const TimelineSummary summary = summarise(spans, {});
  EXPECT_EQ(summary.lanes.size(), without.lanes.size());
  EXPECT_EQ(summary.steps.size(), without.steps.size());
  EXPECT_DOUBLE_EQ(summary.working_share, without.working_share);
  ASSERT_EQ(summary.tile_steps.size(), 1U);
  EXPECT_EQ(summary.tile_steps[0].step, "score");
  EXPECT_EQ(summary.tile_steps[0].spans, 3);
  EXPECT_DOUBLE_EQ(summary.tile_steps[0].us.median, 2);
  EXPECT_TRUE(mentions(timeline_text(summary), "step of a tile"));
  EXPECT_EQ(timeline_json(summary)["tile_steps"].size(), 1U);
  EXPECT_FALSE(mentions(timeline_text(without), "step of a tile"));
}

TEST(Timeline, NothingToDoIsSaid) {
  EXPECT_TRUE(mentions(joined(timeline_reading(summarise({}, {}))), "nothing to do"));
  // Empty sequences: workers look at their pieces, start unevenly and wait for each other.
  const std::vector<seesaw_trace_span> spans = {span("query", 0, 0, 0, 0, 0, 3),
                                                span("wait", 0, 0, -1, -1, 3, 40),
                                                span("query", 1, 0, 1, 0, 35, 39)};
  const std::vector<std::string> reading =
      timeline_reading(summarise(spans, {{0, 0, 0, 0, 0, -1}, {1, 1, 0, 0, 0, -1}}));
  EXPECT_TRUE(mentions(joined(reading), "nothing to do")) << joined(reading);
  EXPECT_FALSE(mentions(joined(reading), "uneven"));
  EXPECT_TRUE(
      mentions(joined(timeline_reading(summarise(spans, {{0, 0, 0, 0, 1, -1}}))), "uneven"));
}

TEST(Timeline, TheTraceFileIsTheTraceEventFormat) {
  const nlohmann::ordered_json trace = chrome_trace(uneven(), "a title");
  int complete = 0;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "X") {
      ++complete;
      EXPECT_TRUE(event["ts"].is_number() && event["dur"].get<double>() >= 0);
      EXPECT_TRUE(event["pid"].is_number_integer() && event["tid"].is_number_integer());
    } else {
      EXPECT_EQ(event["ph"], "M");
    }
  }
  EXPECT_EQ(complete, 5);
  EXPECT_EQ(trace["otherData"]["title"], "a title");
}

std::string sample() {
  std::ostringstream text;
  text << std::ifstream(SEESAW_NCU_SAMPLE).rdbuf();
  return text.str();
}

TEST(Ncu, TheSampleIsRead) {
  const std::vector<KernelMetrics> kernels = parse_ncu_csv(sample());
  ASSERT_FALSE(kernels.empty());
  const auto attention = std::find_if(kernels.begin(), kernels.end(), [](const auto& kernel) {
    return kernel.kernel.find("dense_decode_kernel") != std::string::npos;
  });
  ASSERT_NE(attention, kernels.end());
  EXPECT_EQ(attention->get("launch__registers_per_thread"), 168);
  EXPECT_EQ(attention->get("launch__block_size"), 384);
  const double us = attention->get("gpu__time_duration.sum").value_or(0);
  EXPECT_GT(us, 5);
  EXPECT_LT(us, 5000);
  EXPECT_GT(attention->get("dram__bytes_read.sum").value_or(0), 1e6);
  const std::string text = ncu_text(*attention);
  for (const char* label :
       {"tensor cores", "CUDA cores, FMA", "shared memory", "L1", "L2", "DRAM",
        "registers a thread", "warps active", "instructions by pipe, %", "barrier"}) {
    EXPECT_TRUE(mentions(text, label)) << label << " is not in\n" << text;
  }
  const std::string reading = joined(ncu_reading(*attention));
  EXPECT_TRUE(mentions(reading, "Nearest to its limit: ")) << reading;
  EXPECT_TRUE(mentions(reading, "A warp waits mostly for: ")) << reading;
  EXPECT_TRUE(mentions(reading, "limited to 1 by registers and shared memory.")) << reading;
}

TEST(Ncu, UsageOfRegistersAndSharedMemory) {
  const std::vector<KernelMetrics> kernels = parse_ncu_csv(sample());
  const auto attention = std::find_if(kernels.begin(), kernels.end(), [](const auto& kernel) {
    return kernel.kernel.find("dense_decode_kernel") != std::string::npos;
  });
  ASSERT_NE(attention, kernels.end());
  // 15.02 % of 2,048 threads are active: 307.6 of the block's 384, on average over the SMs.
  const double active_threads = 0.1502 * 2048;
  EXPECT_NEAR(attention->get(kRegistersUsedMetric).value_or(0), 100 * active_threads * 168 / 65536,
              0.01);
  EXPECT_NEAR(attention->get(kSharedMemoryUsedMetric).value_or(0),
              100 * active_threads / 384 * 232448 / 233472, 0.01);
  EXPECT_EQ(attention->get("l1tex__t_sector_hit_rate.pct"), 17.10);
  EXPECT_EQ(attention->get("lts__t_sector_hit_rate.pct"), 33.30);
}

TEST(Ncu, AWholeCallAddsSumsAndWeighsTheRestByTime) {
  const KernelMetrics first{"a",
                            {{"gpu__time_duration.sum", 30},
                             {"lts__t_sector_hit_rate.pct", 80},
                             {"dram__bytes_read.sum", 1000},
                             {"launch__block_size", 128}}};
  const KernelMetrics second{"b",
                             {{"gpu__time_duration.sum", 10},
                              {"lts__t_sector_hit_rate.pct", 40},
                              {"l1tex__t_sector_hit_rate.pct", 7},
                              {"dram__bytes_read.sum", 200}}};
  const KernelMetrics whole = whole_call({first, second});
  EXPECT_EQ(whole.get("gpu__time_duration.sum"), 40);
  EXPECT_EQ(whole.get("dram__bytes_read.sum"), 1200);
  EXPECT_EQ(whole.get("lts__t_sector_hit_rate.pct"), 70);
  EXPECT_EQ(whole.get("l1tex__t_sector_hit_rate.pct"), 7);  // of the one that could be read
  EXPECT_FALSE(whole.get("launch__block_size").has_value());
  EXPECT_FALSE(whole_call({}).get("gpu__time_duration.sum").has_value());
}

TEST(Ncu, InstructionsByPurpose) {
  const auto name = [](const std::string& kind) {
    return "smsp__sass_thread_inst_executed_op_" + kind + "_pred_on.sum";
  };
  const KernelMetrics metrics{"k",
                              {{name("fp32"), 50},
                               {name("fp16"), 10},
                               {name("memory"), 30},
                               {name("control"), 5},
                               {name("misc"), 5},
                               {"sm__inst_executed.sum", 8},
                               {"sm__inst_executed_pipe_adu.sum", 2}}};
  const nlohmann::ordered_json json = ncu_json(metrics);
  const nlohmann::ordered_json& mix = json["operation_mix_percent"];
  EXPECT_EQ(mix["floating point"], 50);
  EXPECT_EQ(mix["half precision"], 10);
  EXPECT_EQ(mix["memory"], 30);
  EXPECT_EQ(mix["control"], 5);
  EXPECT_EQ(json["instruction_mix_percent"]["address divergence, barriers"], 25);
  EXPECT_FALSE(ncu_json({"k", {}}).contains("operation_mix_percent"));
  EXPECT_TRUE(mentions(ncu_text(metrics), "instructions by purpose, %"));
}

TEST(Ncu, UnitsBecomeMicrosecondsAndBytes) {
  const std::string text =
      "==PROF== Connected\nthe program's own \"words\"\n"
      "\"ID\",\"Kernel Name\",\"gpu__time_duration.sum\",\"dram__bytes_read.sum\",\"other\"\n"
      "\"\",\"\",\"msecond\",\"Mbyte\",\"%\"\n"
      "\"0\",\"k<int, \"\"x\"\">(p)\",\"1.5\",\"1,234.5\",\"n/a\"\r\n"
      "\"1\",\"other\",\"2\",\"3\",\"4\"\n";
  const std::vector<KernelMetrics> kernels = parse_ncu_csv(text);
  ASSERT_EQ(kernels.size(), 2U);
  EXPECT_EQ(kernels[0].kernel, "k<int, \"x\">(p)");
  EXPECT_EQ(kernels[0].get("gpu__time_duration.sum"), 1500);
  EXPECT_EQ(kernels[0].get("dram__bytes_read.sum"), 1234.5e6);
  EXPECT_FALSE(kernels[0].get("other").has_value());
  EXPECT_EQ(kernels[1].get("other"), 4);
}

TEST(Ncu, OutputWithoutATableIsRefused) {
  EXPECT_THROW(parse_ncu_csv(""), Failure);
  EXPECT_THROW(parse_ncu_csv("==ERROR== nothing\n"), Failure);
  EXPECT_THROW(parse_ncu_csv("\"ID\",\"Kernel Name\"\n\"\",\"\"\n"), Failure);
}

TEST(Ncu, RefusalsAreExplained) {
  EXPECT_TRUE(mentions(why_ncu_refused("==ERROR== ERR_NVGPUCTRPERM - The user does not have ..."),
                       "NVreg_RestrictProfilingToAdminUsers"));
  EXPECT_EQ(why_ncu_refused("==PROF== x\n==ERROR== LibraryNotLoaded\nmore"), "LibraryNotLoaded");
  EXPECT_TRUE(mentions(why_ncu_refused(""), "without a result"));
}

TEST(Ncu, TheSmallestLimitOfBlocksIsNamed) {
  KernelMetrics metrics{"k",
                        {{"sm__inst_issued.avg.pct_of_peak_sustained_elapsed", 10},
                         {"launch__occupancy_limit_registers", 9},
                         {"launch__occupancy_limit_shared_mem", 12}}};
  EXPECT_TRUE(mentions(joined(ncu_reading(metrics)), "limited to 9 by registers."));
  metrics.values["launch__occupancy_limit_warps"] = 8;
  metrics.values["launch__occupancy_limit_blocks"] = 32;
  EXPECT_TRUE(mentions(joined(ncu_reading(metrics)), "limited to 8 by warps."));
  metrics.values["launch__occupancy_limit_blocks"] = 8;
  EXPECT_TRUE(
      mentions(joined(ncu_reading(metrics)), "limited to 8 by warps and what any SM holds."));
  metrics.values.erase("launch__occupancy_limit_registers");  // perhaps the smallest
  EXPECT_FALSE(mentions(joined(ncu_reading(metrics)), "The blocks of an SM"));
}

TEST(Ncu, WordsFollowTheNumbers) {
  KernelMetrics memory{"k",
                       {{"dram__throughput.avg.pct_of_peak_sustained_elapsed", 91},
                        {"lts__throughput.avg.pct_of_peak_sustained_elapsed", 40}}};
  EXPECT_TRUE(mentions(joined(ncu_reading(memory)), "DRAM at 91 %"));
  EXPECT_TRUE(mentions(joined(ncu_reading(memory)), "fewer bytes"));
  memory.values["dram__throughput.avg.pct_of_peak_sustained_elapsed"] = 20;
  EXPECT_TRUE(mentions(joined(ncu_reading(memory)), "waiting (latency)"));
  EXPECT_TRUE(mentions(joined(ncu_reading({"k", {}})), "none of the metrics"));
}

}  // namespace
}  // namespace seesaw::tools
