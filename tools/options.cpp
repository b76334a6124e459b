#include "options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

#include "case.hpp"
#include "error.hpp"

namespace seesaw::tools {
namespace {

bool named(const Field& field, std::initializer_list<const char*> names) {
  return std::find(names.begin(), names.end(), field.name) != names.end();
}

LengthRule rule_of(const LengthOptions& options) {
  if (options.len_min < 0 && options.len_max < 0) {
    return {options.len, options.len};
  }
  if (options.len_max < 0) {
    throw bad_input({"--len-min", std::to_string(options.len_min) + " without --len-max",
                     "needed: both ends of the range", "Give --len-max too."});
  }
  return {options.len_min < 0 ? 1 : options.len_min, options.len_max};
}

// Query tokens by the flags, else by the file; its numbers are of its own sequences.
void resolve_queries(const Request& request, Asked* asked) {
  seesaw_dense_decode_problem& p = asked->problem;
  if (request.queries.given()) {
    asked->query_lens = request.queries.draw(p.batch, request.lengths.seed, &p.s_q);
  } else if (!asked->query_lens.empty()) {
    if (static_cast<int64_t>(asked->query_lens.size()) != p.batch) {
      throw bad_input({request.input,
                       fmt::format("ragged queries of {} sequences, asked for {}",
                                   asked->query_lens.size(), p.batch),
                       "allowed: as many sequences as the case has",
                       "Leave --batch and --lens out, or give --query-lens too."});
    }
    p.s_q = std::max<int64_t>(
        p.s_q, *std::max_element(asked->query_lens.begin(), asked->query_lens.end()));
  }
  p.ragged = asked->query_lens.empty() ? 0 : 1;
}

}  // namespace

void add_json_option(CLI::App& command, JsonOption* option) {
  // A flag with an optional value after '=': a separate word could be the case's path.
  command.add_flag("--json{-}", option->target,
                   "JSON on standard output instead of text; --json=FILE writes it to a file");
}

void add_operation_option(CLI::App& command, std::string* name) {
  command.add_option("--op", *name, "dense_decode, sparse_decode or sparse_prefill")
      ->capture_default_str();
}

void require_attention(const std::string& name) {
  constexpr const char* kAll[] = {"dense_decode", "sparse_decode", "sparse_prefill"};
  if (std::find(std::begin(kAll), std::end(kAll), name) == std::end(kAll)) {
    throw bad_input({"--op", printable(name), fmt::format("allowed: {}", fmt::join(kAll, ", ")),
                     "Leave it out for dense_decode."});
  }
}

void add_options_flags(CLI::App& command, seesaw_options* options,
                       std::initializer_list<const char*> without) {
  add_field_flags(command, description().options, options,
                  [&](const Field& field) { return !named(field, without); });
}

void add_problem_flags(CLI::App& command, seesaw_dense_decode_problem* problem,
                       std::initializer_list<const char*> without) {
  add_field_flags(command, dense_decode().problem, problem,
                  [&](const Field& field) { return !named(field, without); });
}

void add_setting_flags(CLI::App& command, seesaw_dense_decode_problem* problem) {
  add_field_flags(command, dense_decode().problem, problem,
                  [](const Field& field) { return !dense_decode().told_by_inputs(field); });
}

std::string tuning_file(const seesaw_options& options) {
  if (options.tuning != nullptr) {
    return std::string(options.tuning) == "none" ? "" : options.tuning;
  }
  const char* environment = std::getenv("SEESAW_TUNE_FILE");
  return environment == nullptr ? "" : environment;
}

seesaw_dense_decode_problem complete(seesaw_dense_decode_problem problem) {
  if (problem.d_v == 0 && problem.d_qk != 0) {
    problem.d_v = default_d_v(problem.d_qk);
  }
  set_defaults(dense_decode().problem, &problem);
  if (problem.kv_format == 0) {
    problem.kv_format = problem.q_dtype;
  }
  // The library's own validation, before anything is sized by these numbers.
  seesaw_dense_decode_problem probe = problem;
  probe.max_pages_per_sequence = std::max<int64_t>(1, problem.max_pages_per_sequence);
  DenseDecode::supports(probe);
  return problem;
}

std::vector<int32_t> LengthOptions::draw(int64_t batch) const {
  if (lens.empty()) {
    return make_lengths(rule_of(*this), batch, seed);
  }
  std::vector<int32_t> lengths;
  for (const int64_t each : lens) {
    lengths.push_back(make_lengths({each, each}, 1, 0)[0]);  // one draw of [each, each], checked
  }
  return lengths;
}

void add_length_options(CLI::App& command, LengthOptions* options) {
  command.add_option("--len", options->len, "tokens of every sequence")->capture_default_str();
  command.add_option("--len-min", options->len_min,
                     "shortest length, drawn evenly up to --len-max");
  command.add_option("--len-max", options->len_max, "longest length");
  command.add_option("--lens", options->lens, "lengths, separated by commas (instead of --batch)")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--seed", options->seed, "seed of all random numbers")->capture_default_str();
}

std::vector<int32_t> QueryOptions::draw(int64_t batch, uint64_t seed, int64_t* s_q) const {
  if (lens.empty()) {
    return least < 0 ? std::vector<int32_t>() : make_query_lens({least, *s_q}, batch, seed);
  }
  if (static_cast<int64_t>(lens.size()) != batch) {
    throw bad_input({"--query-lens", fmt::format("{} numbers", lens.size()),
                     fmt::format("needed: {}, one for each sequence", batch),
                     "Give as many as --batch or --lens have."});
  }
  std::vector<int32_t> query_lens;
  for (const int64_t tokens : lens) {
    if (tokens < 0 || tokens > INT32_MAX) {
      throw bad_input({"--query-lens", std::to_string(tokens), "allowed: 0 to 2^31 - 1",
                       "Give the query tokens of each sequence."});
    }
    query_lens.push_back(static_cast<int32_t>(tokens));
  }
  const int64_t most = *std::max_element(lens.begin(), lens.end());
  if (most == 0) {
    throw bad_input({"--query-lens", "no query token at all", "needed: at least one",
                     "Give one of the sequences some."});
  }
  *s_q = std::max(*s_q, most);
  return query_lens;
}

void add_query_options(CLI::App& command, QueryOptions* options) {
  CLI::Option* least = command.add_option(
      "--s-q-min", options->least,
      "ragged queries: query tokens of each sequence are drawn evenly from here up to --s-q");
  command
      .add_option("--query-lens", options->lens,
                  "ragged queries: query tokens of each sequence, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes(least);
}

void add_values_option(CLI::App& command, Values* values) {
  std::string what;
  std::string allowed;
  for (const NamedValues& draw : all_values()) {
    what += fmt::format("{}{}: {}", what.empty() ? "" : "; ", draw.name, draw.what);
    allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", draw.name);
  }
  command
      .add_option_function<std::string>(
          "--values",
          [values, allowed](const std::string& name) {
            for (const NamedValues& draw : all_values()) {
              if (draw.name == name) {
                *values = draw.values;
                return;
              }
            }
            throw bad_input({"--values", printable(name), "allowed: " + allowed,
                             "Leave it out for the suite's."});
          },
          what)
      ->default_str(std::string(name_of(*values)));
}

void add_request(CLI::App& command, Request* request) {
  command.add_option("case", request->input,
                     "a .safetensors file with the problem and the lengths; flags win over it");
  add_problem_flags(command, &request->problem);
  add_length_options(command, &request->lengths);
  add_query_options(command, &request->queries);
  add_options_flags(command, &request->options);
}

Asked resolve(const Request& request, const CLI::App& command) {
  Asked asked{request.problem, {}, {}};
  if (!request.input.empty()) {
    const CaseFile input(request.input);
    asked.problem = input.contents.problem;
    copy_given(command, dense_decode().problem, &request.problem, &asked.problem);
    asked.seq_lens = input.contents.seq_lens;
    asked.query_lens = input.contents.query_lens();
  }
  const bool lengths_given = command.count("--len") + command.count("--len-max") +
                                 command.count("--len-min") + command.count("--lens") >
                             0;
  const seesaw_dense_decode_problem& p = asked.problem = complete(asked.problem);
  if (request.input.empty() || lengths_given ||
      static_cast<int64_t>(asked.seq_lens.size()) != p.batch) {
    asked.seq_lens = request.lengths.draw(p.batch);
  }
  asked.problem.batch = static_cast<int64_t>(asked.seq_lens.size());
  resolve_queries(request, &asked);
  asked.problem.max_pages_per_sequence =
      std::max(p.max_pages_per_sequence, columns_of(asked.seq_lens, p.page_size));
  asked.problem.kv_page_stride = 0;  // packed: a case's are, and flags may have changed what is
  asked.problem.kv_token_stride = 0;
  asked.problem.kv_head_stride = 0;
  return asked;
}

}  // namespace seesaw::tools
