// What `seesaw explain` and `seesaw bench` are asked of a sparse operation.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "fields.hpp"
#include "options.hpp"
#include "roofs.hpp"
#include "sparse_cases.hpp"

namespace seesaw::tools {

// --op as it was typed, before the parser is made: it decides which flags a command has. Without
// it, dense_decode. Throws Failure for an operation that no command knows.
std::string operation_typed(int argc, char** argv);

// The problem of an operation with what is asked most often.
inline void set_usual(seesaw_sparse_decode_problem* problem) {
  problem->batch = 8;
  problem->h_q = 128;
  problem->topk = 2048;
}
inline void set_usual(seesaw_sparse_prefill_problem* problem) {
  problem->s_q = 256;
  problem->h_q = 128;
  problem->topk = 2048;
}

// With the defaults that the library's table names filled in.
template <typename Problem>
Problem completed(const char* of_operation, Problem problem) {
  set_defaults(operation(of_operation).problem, &problem);
  problem.kv_format = problem.kv_format == 0 ? problem.q_dtype : problem.kv_format;
  seesaw::supports(of_operation, &problem, {});  // the library's own validation
  return problem;
}

// A made-up case of a completed problem. Lists name distinct slots of a pool of `pool_tokens`.
SparseSpec spec_of(const seesaw_sparse_decode_problem& problem, int64_t pool_tokens, uint64_t seed);
SparseSpec spec_of(const seesaw_sparse_prefill_problem& problem, int64_t pool_tokens,
                   uint64_t seed);

// Flags of the operation's problem but those named in `without`.
template <typename Problem>
void add_sparse_flags(CLI::App& command, const char* of_operation, Problem* problem,
                      std::initializer_list<const char*> without = {}) {
  add_field_flags(command, operation(of_operation).problem, problem, [=](const Field& field) {
    return std::find(without.begin(), without.end(), field.name) == without.end();
  });
}

}  // namespace seesaw::tools
