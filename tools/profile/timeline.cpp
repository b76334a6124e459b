#include "profile/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ranges>
#include <string_view>
#include <tuple>

#include "table.hpp"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;
using Lane = std::pair<int32_t, int32_t>;  // worker, part

// Steps in which a lane waits for somebody else, or for memory with nothing else to do.
bool is_waiting(std::string_view step) {
  return step == "wait" || step == "start" || step == "query copy" || step == "first tile";
}

bool of_whole_device(const seesaw_trace_span& span) { return span.worker < 0; }

bool of_lane(const seesaw_trace_span& span) { return !of_whole_device(span) && span.of_tile == 0; }

double length(const seesaw_trace_span& span) { return span.end_us - span.begin_us; }

std::vector<LaneSummary> lanes_of(const std::vector<seesaw_trace_span>& spans) {
  std::map<Lane, LaneSummary> lanes;
  for (const seesaw_trace_span& span : spans) {
    if (!of_lane(span)) {
      continue;
    }
    const auto [place, first] = lanes.try_emplace({span.worker, span.part});
    LaneSummary& lane = place->second;
    if (first) {
      lane = {span.worker, span.part, span.begin_us, span.end_us, 0};
    }
    lane.begin_us = std::min(lane.begin_us, span.begin_us);
    lane.working_us += is_waiting(span.step) ? 0 : length(span);
    if (!is_waiting(span.step)) {
      lane.end_us = std::max(lane.end_us, span.end_us);
    }
  }
  std::vector<LaneSummary> list;
  for (const auto& [key, lane] : lanes) {
    list.push_back(lane);
  }
  return list;
}

StepSummary step_of(const std::string& name, const std::vector<seesaw_trace_span>& spans,
                    double all_us) {
  std::map<Lane, double> sums;
  StepSummary step;
  step.step = name;
  step.begin_us = 1e300;
  for (const seesaw_trace_span& span : spans) {
    if (name == span.step) {
      step.of_device = of_whole_device(span);
      sums[{span.worker, span.part}] += length(span);
      step.begin_us = std::min(step.begin_us, span.begin_us);
      step.end_us = std::max(step.end_us, span.end_us);
    }
  }
  std::vector<double> lane_us;
  for (const auto& [lane, us] : sums) {
    lane_us.push_back(us);
  }
  step.lanes = static_cast<int64_t>(lane_us.size());
  step.lane_us = spread_of(lane_us);
  step.share = all_us > 0 ? std::accumulate(lane_us.begin(), lane_us.end(), 0.0) / all_us : 0;
  return step;
}

// Steps of tiles: what one takes, over all lanes, but for the lanes' first tiles.
std::vector<TileStepSummary> tile_steps_of(const std::vector<seesaw_trace_span>& spans) {
  std::vector<TileStepSummary> steps;
  std::vector<std::vector<double>> us;
  for (const seesaw_trace_span& span : spans) {
    if (span.of_tile == 0 || span.tile == 0) {
      continue;
    }
    const auto found =
        std::ranges::find(steps, std::string_view(span.step), &TileStepSummary::step);
    const auto place = static_cast<size_t>(found - steps.begin());
    if (found == steps.end()) {
      steps.push_back({span.step, 0, {}});
      us.emplace_back();
    }
    us[place].push_back(length(span));
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].spans = static_cast<int64_t>(us[i].size());
    steps[i].us = spread_of(us[i]);
  }
  return steps;
}

// Microseconds a tile between the second tile and the last, over every piece that has some.
double steady_us_a_tile(const std::vector<seesaw_trace_span>& spans,
                        const std::vector<seesaw_piece>& pieces) {
  std::map<std::tuple<int32_t, int32_t, int32_t, int32_t>, int64_t> tiles;
  for (const seesaw_piece& piece : pieces) {
    tiles[{piece.worker, piece.sequence, piece.row_group, piece.tile_begin}] =
        piece.tile_end - piece.tile_begin;
  }
  double us = 0;
  double done = 0;
  for (const seesaw_trace_span& span : spans) {
    const auto piece = tiles.find({span.worker, span.sequence, span.row_group, span.tile});
    if (span.step == std::string_view("steady") && piece != tiles.end() && piece->second > 2) {
      us += length(span);
      done += static_cast<double>(piece->second - 2);
    }
  }
  return done > 0 ? us / done : 0;
}

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string lane_name(const LaneSummary& lane, bool parts) {
  return parts ? fmt::format("{}.{}", lane.worker, lane.part) : std::to_string(lane.worker);
}

double share_of(const TimelineSummary& summary, std::string_view name) {
  for (const StepSummary& step : summary.steps) {
    if (step.step == name) {
      return step.share;
    }
  }
  return 0;
}

}  // namespace

TimelineSummary summarise(const std::vector<seesaw_trace_span>& spans,
                          const std::vector<seesaw_piece>& pieces) {
  TimelineSummary summary;
  summary.lanes = lanes_of(spans);
  std::vector<std::string> names;
  double first_us = 1e300;
  double until_us = 0;
  for (const seesaw_trace_span& span : spans) {
    if (span.of_tile != 0) {
      continue;
    }
    summary.total_us = std::max(summary.total_us, span.end_us);
    if (!of_whole_device(span)) {
      first_us = std::min(first_us, span.begin_us);
      until_us = std::max(until_us, span.end_us);
    }
    if (std::find(names.begin(), names.end(), span.step) == names.end()) {
      names.emplace_back(span.step);
    }
  }
  summary.tile_steps = tile_steps_of(spans);
  summary.lanes_us = std::max(until_us - first_us, 0.0);
  const auto lanes = static_cast<double>(summary.lanes.size());
  double working_us = 0;
  double ends_us = 0;
  double last_end_us = 0;
  for (const LaneSummary& lane : summary.lanes) {
    working_us += lane.working_us;
    ends_us += lane.end_us;
    last_end_us = std::max(last_end_us, lane.end_us);
  }
  const double all_us = lanes * summary.lanes_us;
  for (const std::string& name : names) {
    summary.steps.push_back(step_of(name, spans, all_us));
    StepSummary& step = summary.steps.back();
    if (step.of_device) {
      step.share = step.lane_us.median / summary.total_us;
    }
  }
  if (all_us > 0) {
    summary.working_share = working_us / all_us;
    summary.end_over_mean = (last_end_us - ends_us / lanes) / summary.lanes_us;
  }
  summary.steady_us_a_tile = steady_us_a_tile(spans, pieces);
  summary.all_empty =
      !pieces.empty() && std::all_of(pieces.begin(), pieces.end(), [](const seesaw_piece& piece) {
        return piece.tile_begin >= piece.tile_end;
      });
  return summary;
}

std::string timeline_text(const TimelineSummary& summary) {
  Table steps({"step", "lanes", "share %", "us a lane", "p10", "p90", "first at", "last until"});
  for (const StepSummary& s : summary.steps) {
    steps.add({s.step, std::to_string(s.lanes), percent(s.share),
               fmt::format("{:.1f}", s.lane_us.median), fmt::format("{:.1f}", s.lane_us.p10),
               fmt::format("{:.1f}", s.lane_us.p90), fmt::format("{:.1f}", s.begin_us),
               fmt::format("{:.1f}", s.end_us)});
  }
  std::string text = steps.text();
  if (!summary.tile_steps.empty()) {
    Table tiles({"step of a tile", "spans", "us", "p10", "p90"});
    for (const TileStepSummary& s : summary.tile_steps) {
      tiles.add({s.step, std::to_string(s.spans), fmt::format("{:.2f}", s.us.median),
                 fmt::format("{:.2f}", s.us.p10), fmt::format("{:.2f}", s.us.p90)});
    }
    text.append("\n").append(tiles.text());
  }
  constexpr size_t kMostLanes = 16;  // more do not help a reader
  if (summary.lanes.size() <= kMostLanes) {
    const bool parts = std::any_of(summary.lanes.begin(), summary.lanes.end(),
                                   [](const LaneSummary& lane) { return lane.part > 0; });
    Table lanes({"lane", "starts at", "ends at", "at work us", "at work %"});
    for (const LaneSummary& lane : summary.lanes) {
      lanes.add({lane_name(lane, parts), fmt::format("{:.1f}", lane.begin_us),
                 fmt::format("{:.1f}", lane.end_us), fmt::format("{:.1f}", lane.working_us),
                 percent(lane.working_us / summary.lanes_us)});
    }
    text.append("\n").append(lanes.text());
  }
  return text;
}

std::vector<std::string> timeline_reading(const TimelineSummary& summary) {
  std::vector<std::string> reading;
  if (summary.lanes.empty()) {
    return {"Nothing was recorded: the call had nothing to do."};
  }
  if (summary.all_empty) {  // shares of a start and an end would only mislead
    return {"No sequence has a token: there is nothing to do but to start and to end."};
  }
  reading.push_back(fmt::format("{} lanes took {:.1f} us; they were at work {} % of that time.",
                                summary.lanes.size(), summary.lanes_us,
                                percent(summary.working_share)));
  const auto largest = std::max_element(
      summary.steps.begin(), summary.steps.end(), [](const auto& a, const auto& b) {
        return (a.of_device ? 0 : a.share) < (b.of_device ? 0 : b.share);
      });
  reading.push_back(
      fmt::format("Most time goes to \"{}\": {} %.", largest->step, percent(largest->share)));
  if (summary.end_over_mean > 0.05) {
    reading.push_back(fmt::format(
        "The last lane ends {} % of the time after the mean one: the load is uneven. `seesaw plan` "
        "shows the schedule, `seesaw tune` tries others.",
        percent(summary.end_over_mean)));
  } else {
    reading.push_back("The lanes end together: the load is even.");
  }
  if (const double wait = share_of(summary, "wait"); wait > 0.05) {
    reading.push_back(fmt::format(
        "{} % is waiting for the other workers before partials are combined.", percent(wait)));
  }
  if (const double pack = share_of(summary, "pack"); pack > 0.2) {
    reading.push_back(fmt::format(
        "Packing takes {} %: few query rows share a token, so gathering it weighs as much as "
        "using it. This is the memory's speed more than the multiplier's.",
        percent(pack)));
  }
  const double begin = share_of(summary, "start") + share_of(summary, "query copy") +
                       share_of(summary, "first tile");
  if (begin > 0.15) {
    reading.push_back(fmt::format(
        "{} % goes by before the first tile is scored (launch, queries, first copies): short "
        "work, bound by latency. Fewer, longer pieces or more calls in flight help.",
        percent(begin)));
  }
  if (const double end = share_of(summary, "epilogue") + share_of(summary, "merge"); end > 0.15) {
    reading.push_back(fmt::format(
        "{} % is writing results and partials: fewer splits would save some.", percent(end)));
  }
  if (const double combine = share_of(summary, "combine"); combine > 0.15) {
    reading.push_back(fmt::format(
        "Merging partials takes {} % of the call after the last block: fewer splits would save it.",
        percent(combine)));
  }
  if (summary.steady_us_a_tile > 0) {
    reading.push_back(fmt::format("In the steady state a tile takes {:.2f} us on each block.",
                                  summary.steady_us_a_tile));
  }
  return reading;
}

Json timeline_json(const TimelineSummary& summary) {
  Json json = {{"total_us", summary.total_us},
               {"lanes_us", summary.lanes_us},
               {"working_share", summary.working_share},
               {"end_over_mean", summary.end_over_mean},
               {"steady_us_a_tile", summary.steady_us_a_tile}};
  for (const StepSummary& s : summary.steps) {
    json["steps"].push_back({{"step", s.step},
                             {"lanes", s.lanes},
                             {"share", s.share},
                             {"lane_us_median", s.lane_us.median},
                             {"lane_us_p10", s.lane_us.p10},
                             {"lane_us_p90", s.lane_us.p90},
                             {"begin_us", s.begin_us},
                             {"end_us", s.end_us}});
  }
  for (const TileStepSummary& s : summary.tile_steps) {
    json["tile_steps"].push_back({{"step", s.step},
                                  {"spans", s.spans},
                                  {"us_median", s.us.median},
                                  {"us_p10", s.us.p10},
                                  {"us_p90", s.us.p90}});
  }
  for (const LaneSummary& lane : summary.lanes) {
    json["lanes"].push_back({{"worker", lane.worker},
                             {"part", lane.part},
                             {"begin_us", lane.begin_us},
                             {"end_us", lane.end_us},
                             {"working_us", lane.working_us}});
  }
  json["reading"] = timeline_reading(summary);
  return json;
}

Json chrome_trace(const std::vector<seesaw_trace_span>& spans, const std::string& title) {
  Json events = Json::array();
  int32_t last_worker = -2;
  for (const seesaw_trace_span& span : spans) {
    // Process 0 is the whole device: viewers take no negative numbers.
    if (span.worker != last_worker) {
      last_worker = span.worker;
      const std::string name = span.worker < 0 ? "device" : fmt::format("worker {}", span.worker);
      events.push_back({{"name", "process_name"},
                        {"ph", "M"},
                        {"pid", span.worker + 1},
                        {"args", {{"name", name}}}});
    }
    events.push_back(
        {{"name", span.step},
         {"ph", "X"},
         {"ts", span.begin_us},
         {"dur", length(span)},
         {"pid", span.worker + 1},
         {"tid", span.part},
         {"args",
          {{"sequence", span.sequence}, {"row_group", span.row_group}, {"tile", span.tile}}}});
  }
  return {{"traceEvents", events},
          {"displayTimeUnit", "ns"},
          {"otherData", {{"title", title}, {"version", seesaw_version()}}}};
}

}  // namespace seesaw::tools
