// The report's main results in sentences.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "compare/report.hpp"

namespace seesaw::tools {
namespace {

// The measured row of a system in a group; null if there is none.
const Row* row_of(const std::vector<Row>& rows, const Group& group, System system) {
  for (size_t i = group.begin; i < group.end; ++i) {
    if (rows[i].contender.system == system && rows[i].measured()) {
      return &rows[i];
    }
  }
  return nullptr;
}

// Of each dtype and phase the group of most work: the shorter ones say the same.
std::vector<Group> largest_groups(const std::vector<Row>& rows, Phase phase) {
  std::vector<Group> chosen;
  for (const Group& group : groups_of(rows)) {
    const Row& row = rows[group.begin];
    if (row.setting.phase != phase) {
      continue;
    }
    const auto same = std::find_if(chosen.begin(), chosen.end(), [&](const Group& other) {
      return rows[other.begin].setting.dtype == row.setting.dtype;
    });
    if (same == chosen.end()) {
      chosen.push_back(group);
    } else if (rows[same->begin].prediction.operations <= row.prediction.operations) {
      *same = group;
    }
  }
  return chosen;
}

void add_prefill_finding(const std::vector<Row>& rows, std::vector<std::string>* findings) {
  for (const Group& group : largest_groups(rows, Phase::kPrefill)) {
    const Row* mha = row_of(rows, group, System::kMha);
    const Row* mla = row_of(rows, group, System::kTraditional);
    if (mha == nullptr || mla == nullptr || !mla->speed_up) {
      continue;
    }
    const NotesModel model = notes_model(shape_of(*mla));
    const double projections =
        1 - mha->prediction.attention_operations / mha->prediction.operations;
    findings->push_back(fmt::format(
        "{}: traditional MLA is {:.2f} times as fast as multi-head attention ({:.2f} to {:.2f}). "
        "The notes' formula promises {:.1f}, with overheads {:.1f}. Counting the operations of "
        "whole layers gives {:.2f}, as {:.0f} % of multi-head attention's are projections, which "
        "traditional MLA keeps; with the bytes of the materialised scores, against the ceilings, "
        "{:.2f}.",
        mha->setting.text(), mla->speed_up->median, mla->speed_up->p10, mla->speed_up->p90,
        model.ideal_speed_up(), model.speed_up(),
        mha->prediction.operations / mla->prediction.operations, 100 * projections,
        mha->bound_seconds / mla->bound_seconds));
  }
}

void add_decode_finding(const std::vector<Row>& rows, std::vector<std::string>* findings) {
  for (const Group& group : largest_groups(rows, Phase::kDecode)) {
    const Row* expanded = row_of(rows, group, System::kExpanded);
    const Row* absorbed = row_of(rows, group, System::kAbsorbed);
    if (expanded == nullptr || absorbed == nullptr) {
      continue;
    }
    findings->push_back(fmt::format(
        "{}: absorbing the up-projections makes DeepSeek's MLA {:.1f} times as fast ({:.3f} ms "
        "against {:.3f} ms expanded, {:.1f} times fewer operations; absorbed it runs at {:.2f} of "
        "the ceiling); a token's cache is {} bytes, multi-head attention's {}.",
        expanded->setting.text(), expanded->seconds() / absorbed->seconds(),
        absorbed->us.median / 1e3, expanded->us.median / 1e3,
        expanded->prediction.operations / absorbed->prediction.operations, absorbed->fraction(),
        absorbed->prediction.cache_bytes_per_token,
        rows[group.begin].prediction.cache_bytes_per_token));
  }
}

// The error in fp32 if it is a number that a sentence can give.
bool is_known(const MeasuredError& error) {
  return error.why_not.empty() && std::isfinite(error.error.relative);
}

void add_deepseek_fit_finding(const Tradeoff& t, std::vector<std::string>* findings) {
  const TradeoffPoint* largest = nullptr;
  const TradeoffPoint* cut = nullptr;  // the first that keeps at most a quarter of that rank
  for (const TradeoffPoint& point : t.points) {
    if (point.contender.system == System::kExpanded && is_known(point.errors[0])) {
      largest = largest == nullptr ? &point : largest;
      if (cut == nullptr && point.contender.latent * 4 <= largest->contender.latent) {
        cut = &point;
      }
    }
  }
  if (largest == nullptr) {
    return;
  }
  const int64_t rank = largest->contender.latent;
  std::string finding = fmt::format(
      "Compression of the given layer: DeepSeek's form {} (relative error {:.1e} in fp32)",
      rank == t.full_rank ? "is exact at full rank"
                          : fmt::format("at rank {} of {} is not exact", rank, t.full_rank),
      largest->errors[0].error.relative);
  if (cut != nullptr) {
    finding += fmt::format("; at rank {} the cache is {:.1f} times smaller and the error {:.2g}",
                           cut->contender.latent, cut->compression, cut->errors[0].error.relative);
  }
  findings->push_back(finding + ".");
}

void add_traditional_fit_finding(const Tradeoff& t, std::vector<std::string>* findings) {
  const auto found = std::find_if(t.points.begin(), t.points.end(), [](const TradeoffPoint& point) {
    return point.contender.system == System::kTraditional && is_known(point.errors[0]) &&
           is_known(point.own_errors[0]);
  });
  if (found == t.points.end()) {
    return;
  }
  const int64_t latent = found->contender.latent;
  findings->push_back(fmt::format(
      "Traditional MLA has one attention pattern for all heads: {} its distance from the given "
      "layer is {:.2g}; its own form at full rank it reproduces to {:.1e}.",
      latent == t.full_latent ? "even at full rank"
                              : fmt::format("at rank {} of {}", latent, t.full_latent),
      found->errors[0].error.relative, found->own_errors[0].error.relative));
}

}  // namespace

std::vector<std::string> findings_of(const CompareReport& report) {
  std::vector<std::string> findings;
  add_prefill_finding(report.rows, &findings);
  add_decode_finding(report.rows, &findings);
  if (report.tradeoff) {
    add_deepseek_fit_finding(*report.tradeoff, &findings);
    add_traditional_fit_finding(*report.tradeoff, &findings);
  }
  return findings;
}

}  // namespace seesaw::tools
