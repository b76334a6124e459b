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
  add_options_flags(command, &request->options);
}

Asked resolve(const Request& request, const CLI::App& command) {
  Asked asked{request.problem, {}};
  if (!request.input.empty()) {
    const CaseFile input(request.input);
    asked.problem = input.contents.problem;
    copy_given(command, dense_decode().problem, &request.problem, &asked.problem);
    asked.seq_lens = input.contents.seq_lens;
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
  asked.problem.max_pages_per_sequence =
      std::max(p.max_pages_per_sequence, columns_of(asked.seq_lens, p.page_size));
  asked.problem.kv_page_stride = 0;  // packed: a case's are, and flags may have changed what is
  asked.problem.kv_token_stride = 0;
  asked.problem.kv_head_stride = 0;
  return asked;
}

}  // namespace seesaw::tools
