// One call, as its workers see it, and the two things they do: pieces, then merges.
#pragma once

#include <cstdint>

#include "attention/cpu/layout.hpp"
#include "attention/host.hpp"

namespace seesaw::attention::cpu {

struct Job {
  const Plan& plan;
  const Call& call;
  const Microkernel& kernel;
  Geometry geometry;
  split::ScheduleView schedule;

  const Problem& problem() const { return plan.attention; }
};

// The microkernel that the plan chose.
const Microkernel& microkernel_of(const Plan& plan);

Job make_job(const Plan& plan, const Call& call, const Microkernel& kernel);

// Threads that a run asks for now: one a worker, or less if the program has set fewer since the
// plan was made and the plan was to follow it. Workers, and so bits, are the plan's.
int32_t threads_of(const Plan& plan);

// The scale of a stream's whole cache, by which its elements have to be multiplied: 1 where the
// format has none; NaN if it is infinite, as 0 times it is.
float tensor_scale_of(const Job& job, size_t stream);

// What results are multiplied by: the scale of the whole cache, where elements are multiplied
// without it. That is so unless there are two caches, whose scales may differ.
float result_scale_of(const Job& job);

// A query row of an item, counted over KV heads: kv_head * rows + token * group + head of group.
struct RowPlace {
  int64_t item;
  int64_t token;  // of the item's
  int64_t head;   // of h_q
};
RowPlace place_of(const Problem& problem, int64_t item, int64_t row);

// A row's accumulators: `sum` weights in units of 2^maximum. A sum of 0 is a row that attended
// nothing, whose `output` is not read.
struct RowState {
  const float* output;
  float maximum;
  float sum;
  float max_logit;  // only if they are asked for
};

// Writes one finished row.
void store_result(const Job& job, const RowPlace& place, const RowState& row);

// Does worker `worker`'s pieces, in order.
void do_pieces(const Job& job, int32_t worker);

// Does worker `worker`'s share of the merges; every piece must be done before.
void merge_partials(const Job& job, int32_t worker);

}  // namespace seesaw::attention::cpu
