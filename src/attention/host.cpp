#include "attention/host.hpp"

#include <algorithm>
#include <climits>

#include "split/check_schedule.hpp"

namespace seesaw::attention {

split::Lengths planned_lengths(const Problem& problem, const Call& call) {
  split::Lengths lengths;
  for (size_t s = 0; s < problem.num_streams; ++s) {
    const int64_t most = std::min<int64_t>(planned_tokens(problem, s), INT32_MAX);
    lengths.streams[s] = {call.streams[s].lengths, call.streams[s].lengths_stride,
                          static_cast<int32_t>(most)};
  }
  lengths.items_per_length = static_cast<int32_t>(problem.items_per_sequence);
  return lengths;
}

Status prepare_on_host(const Plan& plan, const Call& call, void* schedule) {
  split::build_schedule(plan.split, planned_lengths(plan.attention, call),
                        static_cast<int32_t>(call.items), schedule);
  return {};
}

Status check_on_host(const Plan& plan, const Call& call) {
  return split::check_schedule(plan.split, planned_lengths(plan.attention, call),
                               static_cast<int32_t>(call.items), call.schedule);
}

}  // namespace seesaw::attention
