// A case with a plan and guarded memory for everything that a call needs.
#pragma once

#include "lab/decode_case.hpp"
#include "support/guarded_buffer.hpp"
#include "support/query_parts.hpp"

namespace seesaw::testing {

using lab::DecodeCase;
using lab::DecodeSpec;
using lab::Gaps;

struct HostCall {
  // parts: of the case's queries; null: they are one tensor.
  HostCall(const DecodeCase& test_case, const seesaw_options& options,
           const QueryParts* parts = nullptr)
      : decode(parts == nullptr ? test_case.problem() : parts->problem(test_case.problem()),
               options),
        schedule(decode.schedule_bytes()),
        workspace(decode.workspace_bytes()),
        out(test_case.out_bytes()),
        lse(test_case.lse_bytes()),
        max_logits(test_case.spec().max_logits ? test_case.lse_bytes() : 0),
        args(parts == nullptr ? test_case.inputs() : parts->args(test_case.inputs())) {
    args.out = test_case.out_tensor(out.data());
    args.lse = test_case.lse_tensor(lse.data());
    if (test_case.spec().max_logits) {
      args.max_logits = test_case.lse_tensor(max_logits.data());
    }
    call.schedule = schedule.data();
    call.schedule_bytes = schedule.size();
    call.workspace = workspace.data();
    call.workspace_bytes = workspace.size();
  }

  void prepare() const { decode.prepare(args, call); }
  void run() const { decode.run(args, call); }

  DenseDecode decode;
  GuardedBuffer schedule;
  GuardedBuffer workspace;
  GuardedBuffer out;
  GuardedBuffer lse;
  GuardedBuffer max_logits;
  seesaw_dense_decode_args args;
  seesaw_call call;
};

}  // namespace seesaw::testing
