// What the host sides of the kernel and of that with a ring share.
#pragma once

#include <algorithm>
#include <span>

#include "attention/call.hpp"
#include "attention/plan.hpp"
#include "attention/sm90/kernels.hpp"
#include "attention/sm90/records.hpp"

namespace seesaw::attention::sm90 {

// Whether records become rows of the queries' type on their way.
inline bool converts(const Problem& problem) {
  return !copies(problem.streams[0].format, problem.q_type);
}

// The plan's instance among these, or null.
template <typename LaunchParams>
typename InstanceOf<LaunchParams>::Launch find(std::span<const InstanceOf<LaunchParams>> instances,
                                               const Plan& plan) {
  const Problem& problem = plan.attention;
  const InstanceKey key = {.type = problem.q_type,
                           .d_qk = problem.d_qk,
                           .converts = converts(problem),
                           .rows = plan.tile_rows};
  const auto found = std::ranges::find(instances, key, &InstanceOf<LaunchParams>::key);
  return found == instances.end() ? nullptr : found->launch;
}

// Caches begin on 16 bytes, for cp.async and TMA alike.
Status check_address(const Stream& stream, const char* name);

// Of queries that the traced variants are not compiled for.
Status no_trace_of(DType q_type);

}  // namespace seesaw::attention::sm90
