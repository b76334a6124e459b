// Options that several commands share, and what they amount to.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "flags.hpp"
#include "lab/pages.hpp"
#include "lab/synthetic.hpp"
#include "laboratory.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::tools {

// --json[=FILE]: machine-readable output instead of text.
struct JsonOption {
  std::string target;  // empty: not asked for; "-": standard output
  bool wanted() const { return !target.empty(); }
  std::string file() const { return target == "-" ? "" : target; }
};
void add_json_option(CLI::App& command, JsonOption* option);

// --op: which attention a command is about. Messages of `require_attention` name those that there
// are.
void add_operation_option(CLI::App& command, std::string* name);
void require_attention(const std::string& name);

// --progress: earlier and more often than without it (progress.hpp).
inline constexpr const char* kProgressHelp =
    "progress from the start, also without a terminal (there else after 5 s, every 10 s)";

// The flags of seesaw_options, and of a problem: a flag for each field of the library's tables but
// those named in `without`.
void add_options_flags(CLI::App& command, seesaw_options* options,
                       std::initializer_list<const char*> without = {});
void add_problem_flags(CLI::App& command, seesaw_dense_decode_problem* problem,
                       std::initializer_list<const char*> without = {});
// Those that the tensors of a case do not tell.
void add_setting_flags(CLI::App& command, seesaw_dense_decode_problem* problem);

// The tuning file that plans will read; empty: none.
std::string tuning_file(const seesaw_options& options);

// The problem with its defaults filled in; throws Error if it is malformed.
seesaw_dense_decode_problem complete(seesaw_dense_decode_problem problem);

// Lengths of the sequences.
struct LengthOptions {
  int64_t len = 4096;
  int64_t len_min = -1;  // -1: not given
  int64_t len_max = -1;
  std::vector<int64_t> lens;  // one for each sequence, instead
  uint64_t seed = 0;

  std::vector<int32_t> draw(int64_t batch) const;
};
void add_length_options(CLI::App& command, LengthOptions* options);

// Query tokens of the sequences: s_q of each, or, ragged, of each its own number.
struct QueryOptions {
  int64_t least = -1;         // -1: not given
  std::vector<int64_t> lens;  // one for each sequence, instead

  bool given() const { return least >= 0 || !lens.empty(); }
  // Of each sequence; empty: the problem's s_q of each. Numbers above s_q raise it.
  std::vector<int32_t> draw(int64_t batch, uint64_t seed, int64_t* s_q) const;
};
void add_query_options(CLI::App& command, QueryOptions* options);

// --values: what made-up tensors hold.
void add_values_option(CLI::App& command, Values* values);

// A problem and lengths, from flags or from a case's file.
struct Request {
  seesaw_dense_decode_problem problem{.batch = 8, .h_q = 128};
  seesaw_options options;
  LengthOptions lengths;
  QueryOptions queries;
  std::string input;  // the case's file; empty: flags alone
};
void add_request(CLI::App& command, Request* request);

// The problem complete, with the lengths' batch and block table, the lengths, and if ragged the
// query tokens of each sequence. Flags that were given to `command` win over the file.
struct Asked {
  seesaw_dense_decode_problem problem;
  std::vector<int32_t> seq_lens;
  std::vector<int32_t> query_lens;
};
Asked resolve(const Request& request, const CLI::App& command);

}  // namespace seesaw::tools
