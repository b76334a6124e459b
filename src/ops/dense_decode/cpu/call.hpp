// One call of the kernel, as its workers see it, and the two things they do: pieces, then merges.
#pragma once

#include <cstdint>

#include "ops/dense_decode/cpu/layout.hpp"

namespace seesaw::dense_decode::cpu {

struct DecodeCall {
  const DenseDecodePlan& plan;
  const Args& args;
  void* workspace;
  const Microkernel& kernel;
  Geometry geometry;
  split::ScheduleView schedule;
  CacheFormat format;

  const DenseDecodeProblem& problem() const { return plan.problem; }
};

// The scale of the whole cache, which goes into the scores and the results: the cache's elements
// are multiplied without it. 1 where the format has none; NaN if it is infinite, as 0 times it is.
float tensor_scale_of(const DecodeCall& call);

// The microkernel that the plan chose.
const Microkernel& microkernel_of(const DenseDecodePlan& plan);

DecodeCall make_call(const DenseDecodePlan& plan, const Args& args, const Call& call,
                     const Microkernel& kernel);

// Threads that a run asks for now: one a worker, or less if the program has set fewer since the
// plan was made and the plan was to follow it. Workers, and so bits, are the plan's.
int32_t threads_of(const DenseDecodePlan& plan);

// A query row of a sequence, counted over KV heads: kv_head * rows + token * group + head of group.
struct RowPlace {
  int64_t sequence;
  int64_t token;  // of s_q
  int64_t head;   // of h_q
};
RowPlace place_of(const DenseDecodeProblem& problem, int64_t sequence, int64_t row);

// Writes one finished row: `sum` weights in units of 2^maximum. A sum of 0 is a row that attended
// nothing, whose `output` is not read.
void store_result(const DecodeCall& call, const RowPlace& place, const float* output, float maximum,
                  float sum);

// Does worker `worker`'s pieces, in order.
void do_pieces(const DecodeCall& call, int32_t worker);

// Does worker `worker`'s share of the merges; every piece must be done before.
void merge_partials(const DecodeCall& call, int32_t worker);

}  // namespace seesaw::dense_decode::cpu
