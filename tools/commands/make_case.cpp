// seesaw make-case: a synthetic case, written page by page.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "case.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "io/safetensors_writer.hpp"
#include "lab/cache_records.hpp"
#include "machine.hpp"
#include "numbers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"

namespace seesaw::tools {
namespace {

struct MakeCaseOptions {
  std::string output;
  seesaw_dense_decode_problem problem{.batch = 8, .h_q = 128};
  LengthOptions lengths;
  QueryOptions queries;
  Values values = Values::kSuite;
  int64_t spare_pages = 0;
  bool progress = false;
};

std::vector<TensorDeclaration> declarations(const SyntheticCase& source) {
  const seesaw_dense_decode_problem& p = source.problem();
  std::vector<TensorDeclaration> tensors = {
      {"kv_cache", file_dtype(p.kv_format), {source.num_pages(), p.page_size, p.h_kv, p.d_qk}},
      {"q", file_dtype(p.q_dtype), tensor_shape(source.inputs(nullptr, nullptr).q)},
      {"block_table", FileDType::kI32, {p.batch, p.max_pages_per_sequence}},
      {"seq_lens", FileDType::kI32, {p.batch}}};
  if (p.ragged != 0) {
    tensors.push_back({"cu_seqlens_q", FileDType::kI32, {p.batch + 1}});
  }
  return tensors;
}

void write_numbers(const std::vector<int32_t>& numbers, SafetensorsWriter* writer) {
  writer->write(numbers.data(), numbers.size() * sizeof(int32_t));
}

void write_case(const MakeCaseOptions& options, const SyntheticCase& source,
                SafetensorsWriter* writer) {
  const seesaw_dense_decode_problem& p = source.problem();
  std::map<std::string, std::string> metadata = settings_of(p, {.scale = default_scale(p.d_qk)});
  metadata["generator"] = fmt::format("seesaw {} make-case, seed {}, values {}", seesaw_version(),
                                      options.lengths.seed, name_of(options.values));
  writer->declare(declarations(source), metadata);
  Progress progress("make-case", static_cast<double>(source.num_pages()), options.progress);
  std::vector<std::byte> bytes(source.page_bytes());
  for (int64_t page = 0; page < source.num_pages(); ++page) {
    progress.update(static_cast<double>(page), "writing pages");
    source.fill_page(page, bytes.data());
    writer->write(bytes.data(), bytes.size());
  }
  for (int64_t sequence = 0; sequence < p.batch; ++sequence) {
    bytes.resize(source.q_bytes_of_sequence(sequence));
    source.fill_q_of_sequence(sequence, bytes.data());
    writer->write(bytes.data(), bytes.size());
  }
  write_numbers(source.block_table(), writer);
  write_numbers(source.seq_lens(), writer);
  write_numbers(source.cu_seqlens_q(), writer);
  writer->commit();
}

void make_case(const MakeCaseOptions& options) {
  seesaw_dense_decode_problem p = complete(options.problem);
  if (is_quantised(p.kv_format)) {  // case files hold plain tensors
    throw bad_input({"make-case", fmt::format("kv_format = {}", format_name(p.kv_format)),
                     "allowed in files: bfloat16, float16, float32",
                     "Write a plain case, or let bench make a quantised one in memory"});
  }
  const uint64_t seed = options.lengths.seed;
  std::vector<int32_t> seq_lens = options.lengths.draw(p.batch);
  SyntheticRules rules{.seed = seed, .values = options.values, .spare_pages = options.spare_pages};
  rules.query_lens = options.queries.draw(static_cast<int64_t>(seq_lens.size()), seed, &p.s_q);
  const SyntheticCase source(p, std::move(seq_lens), rules);
  SafetensorsWriter writer(options.output);
  write_case(options, source, &writer);
  print_out("{}: {}, {} pages, {} tokens, {}\n", options.output,
            fields_text(dense_decode().problem, &source.problem()), source.num_pages(),
            source.total_tokens(),
            bytes_text(static_cast<double>(source.cache_bytes() + source.q_bytes())));
}

}  // namespace

void register_make_case(CLI::App& app) {
  auto options = std::make_shared<MakeCaseOptions>();
  CLI::App* command = app.add_subcommand(
      "make-case",
      "Write a synthetic case: values normal / 10 clamped to +-1 or any other draw, pages in "
      "random order, NaN wherever nothing may be read");
  command->add_option("-o,--output", options->output, "the .safetensors file to write")->required();
  add_problem_flags(*command, &options->problem);
  add_length_options(*command, &options->lengths);
  add_query_options(*command, &options->queries);
  add_values_option(*command, &options->values);
  command->add_option("--spare-pages", options->spare_pages, "pages that no sequence uses")
      ->capture_default_str();
  command->add_flag("--progress", options->progress, kProgressHelp);
  command->footer(
      "Examples:\n"
      "  seesaw make-case -o case.safetensors --batch 4 --heads 128 --len 4096\n"
      "  seesaw make-case -o mtp.safetensors --heads 16 --s-q 3 --causal --len-min 1 --len-max "
      "9000\n"
      "  seesaw make-case -o ragged.safetensors --heads 16 --s-q 4 --s-q-min 0 --causal\n"
      "  seesaw make-case -o heavy.safetensors --values heavy\n"
      "  seesaw make-case -o odd.safetensors --dtype fp16 --page-size 61 --spare-pages 100 --seed "
      "7");
  command->callback([options] { make_case(*options); });
}

}  // namespace seesaw::tools
