// The report as JSON; docs/compare.md says what each key means.
#include <cmath>
#include <nlohmann/json.hpp>

#include "compare/report.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;

Json number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json to_json(const Prediction& p) {
  return {{"operations", p.operations},
          {"attention_operations", p.attention_operations},
          {"bytes", p.bytes},
          {"parameters", p.parameters},
          {"weight_bytes", p.weight_bytes},
          {"cache_bytes_per_token", p.cache_bytes_per_token},
          {"score_bytes", p.score_bytes},
          {"workspace_bytes", p.workspace_bytes}};
}

Json setting_json(const Setting& s, const Contender& c) {
  return {{"phase", name_of(s.phase)},
          {"b", s.batch},
          {"len", s.len},
          {"heads", s.heads},
          {"head_dim", s.head_dim},
          {"d_model", s.d_model()},
          {"dtype", contract_name(s.dtype)},
          {"causal", s.causal},
          {"bias", s.bias},
          {"system", name_of(c.system)},
          {"latent", c.latent},
          {"rope", c.rope}};
}

Json to_json(const Row& row) {
  Json json = setting_json(row.setting, row.contender);
  json["predicted"] = to_json(row.prediction);
  json["why_not"] = text_or_null(row.why_not);
  if (!row.measured()) {
    return json;
  }
  json["backend"] = row.backend;
  json["converted_products"] = row.converted_products;
  json["runs"] = row.runs;
  json["calls_a_run"] = row.calls;
  json["us"] = row.us.median;
  json["us_p10"] = row.us.p10;
  json["us_p90"] = row.us.p90;
  json["speed_up"] = row.speed_up ? Json(row.speed_up->median) : Json();
  json["speed_up_p10"] = row.speed_up ? Json(row.speed_up->p10) : Json();
  json["speed_up_p90"] = row.speed_up ? Json(row.speed_up->p90) : Json();
  json["gflops"] = row.gflops();
  json["gbps"] = row.gbps();
  json["bound_us"] = row.bound_seconds * 1e6;
  json["roof"] = row.roofs.instruction;
  json["roof_fraction"] = row.fraction();
  json["plan_workspace_bytes"] = row.plan_workspace_bytes;
  json["peak_bytes"] = row.peak_bytes > 0 ? Json(row.peak_bytes) : Json(nullptr);
  return json;
}

Json to_json(const std::vector<Row>& rows) {
  Json json = Json::array();
  for (const Row& row : rows) {
    json.push_back(to_json(row));
  }
  return json;
}

Json to_json(const MeasuredError& e) {
  return {{"relative", e.why_not.empty() ? number(e.error.relative) : Json(nullptr)},
          {"largest", e.why_not.empty() ? number(e.error.largest) : Json(nullptr)},
          {"converted_products", e.converted_products},
          {"why_not", text_or_null(e.why_not)}};
}

Json to_json(const Tradeoff& t) {
  Json json = {{"weights", t.source},  {"left_out", text_or_null(t.left_out)},
               {"heads", t.heads},     {"head_dim", t.head_dim},
               {"d_model", t.d_model}, {"check_tokens", t.check_tokens},
               {"len", t.len},         {"singular_values", t.spectrum}};
  json["points"] = Json::array();
  for (const TradeoffPoint& point : t.points) {
    Json item = {{"system", name_of(point.contender.system)},
                 {"latent", point.contender.latent},
                 {"rope", point.contender.rope},
                 {"compression", point.compression},
                 {"weight_error", point.weight_error},
                 {"kept_energy", point.kept_energy}};
    for (size_t i = 0; i < kFloatTypes.size(); ++i) {
      item["error"][contract_name(kFloatTypes[i])] = to_json(point.errors[i]);
      item["own_error"][contract_name(kFloatTypes[i])] = to_json(point.own_errors[i]);
    }
    item["prefill"] = to_json(point.prefill);
    item["decode"] = to_json(point.decode);
    json["points"].push_back(item);
  }
  return json;
}

Json to_json(const CountersReport& counters) {
  if (counters.layers.empty() && counters.why_not.empty()) {
    return nullptr;  // nobody asked
  }
  Json json = {{"why_not", text_or_null(counters.why_not)}, {"layers", Json::array()}};
  for (const LayerCounters& layer : counters.layers) {
    Json item = setting_json(counters_setting(), layer.contender);
    item["whole_call"] = ncu_json(layer.whole);
    item["kernels"] = Json::array();
    for (const KernelMetrics& launch : layer.launches) {
      item["kernels"].push_back(ncu_json(launch));
    }
    json["layers"].push_back(item);
  }
  return json;
}

}  // namespace

Json compare_json(const CompareReport& report) {
  const Machine& machine = report.machine;
  Json json = {{"kind", "compare"},
               {"format", 2},
               {"command", report.command},
               {"device", report.device_name},
               {"place", report.device},
               {"commit", build_commit()},
               {"date", report.date},
               {"machine",
                {{"cpu", machine.cpu_model},
                 {"os", machine.os},
                 {"compiler", machine.compiler},
                 {"cpus", machine.logical_cpus},
                 {"threads", report.threads},
                 {"memory_bytes", machine.memory_bytes},
                 {"load_average_before", report.load}}},
               {"roofs", to_json(report.roofs)},
               {"memory_method", report.memory_method},
               {"rows", to_json(report.rows)},
               {"claim_rows", to_json(report.claim_rows)}};
  json["precision"] = Json::array();
  for (const PrecisionRow& row : report.precision) {
    Json item = setting_json(row.setting, row.contender);
    item.update(to_json(row.result));
    json["precision"].push_back(item);
  }
  json["tradeoff"] = report.tradeoff ? to_json(*report.tradeoff) : Json(nullptr);
  json["counters"] = to_json(report.counters);
  json["stopped_early"] = !report.left_out.empty();
  json["left_out"] = report.left_out;
  return json;
}

}  // namespace seesaw::tools
