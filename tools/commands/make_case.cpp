// seesaw make-case: a synthetic case, written page by page.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "case.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "io/safetensors_writer.hpp"
#include "machine.hpp"
#include "numbers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "synthetic.hpp"

namespace seesaw::tools {
namespace {

struct MakeCaseOptions {
  std::string output;
  ShapeOptions shape;
  LengthOptions lengths;
  int64_t spare_pages = 0;
  bool progress = false;
};

std::vector<TensorDeclaration> declarations(const SyntheticCase& source) {
  const SyntheticShape& shape = source.shape();
  const int64_t batch = source.batch();
  return {{"kv_cache",
           file_dtype(shape.kv_dtype),
           {source.num_pages(), shape.page_size, shape.h_kv, shape.d_qk}},
          {"q", file_dtype(shape.q_dtype), {batch, shape.s_q, shape.h_q, shape.d_qk}},
          {"block_table", FileDType::kI32, {batch, source.max_pages_per_sequence()}},
          {"seq_lens", FileDType::kI32, {batch}}};
}

void write_case(const MakeCaseOptions& options, const SyntheticCase& source,
                SafetensorsWriter* writer) {
  const SyntheticShape& shape = source.shape();
  writer->declare(
      declarations(source),
      {{"scale", fmt::format("{:.9g}", 1 / std::sqrt(static_cast<double>(shape.d_qk)))},
       {"causal", options.shape.causal ? "true" : "false"},
       {"d_v", std::to_string(shape.d_v)},
       {"generator", fmt::format("seesaw {} make-case, seed {}", seesaw_version(), shape.seed)}});
  Progress progress("pages", source.num_pages(), options.progress);
  std::vector<std::byte> bytes(source.page_bytes());
  for (int64_t page = 0; page < source.num_pages(); ++page) {
    progress.update(page, "");
    source.fill_page(page, bytes.data());
    writer->write(bytes.data(), bytes.size());
  }
  bytes.resize(source.q_bytes() / static_cast<size_t>(source.batch()));
  for (int64_t sequence = 0; sequence < source.batch(); ++sequence) {
    source.fill_q_of_sequence(sequence, bytes.data());
    writer->write(bytes.data(), bytes.size());
  }
  writer->write(source.block_table().data(), source.block_table().size() * sizeof(int32_t));
  writer->write(source.seq_lens().data(), source.seq_lens().size() * sizeof(int32_t));
  writer->commit();
}

void make_case(const MakeCaseOptions& options) {
  SyntheticShape shape = synthetic_shape(options.shape, options.lengths.seed);
  shape.spare_pages = options.spare_pages;
  const SyntheticCase source(
      shape, make_lengths(options.lengths.rule(), options.shape.batch, options.lengths.seed));
  SafetensorsWriter writer(options.output);
  write_case(options, source, &writer);
  const double total = static_cast<double>(source.cache_bytes() + source.q_bytes());
  print_out(
      "{}: batch {}, s_q {}, h_q {}, h_kv {}, d_qk {}, {} pages of {}, {} tokens, {}/{}, {}\n",
      options.output, source.batch(), shape.s_q, shape.h_q, shape.h_kv, shape.d_qk,
      source.num_pages(), shape.page_size, source.total_tokens(), short_name(shape.q_dtype),
      short_name(shape.kv_dtype), bytes_text(total));
}

}  // namespace

void register_make_case(CLI::App& app) {
  auto options = std::make_shared<MakeCaseOptions>();
  CLI::App* command = app.add_subcommand(
      "make-case",
      "Write a synthetic case: values normal / 10 clamped to +-1, pages in random "
      "order, NaN wherever nothing may be read");
  command->add_option("-o,--output", options->output, "the .safetensors file to write")->required();
  add_batch_and_heads(*command, &options->shape);
  add_shape_options(*command, &options->shape);
  add_length_options(*command, &options->lengths);
  command->add_option("--spare-pages", options->spare_pages, "pages that no sequence uses")
      ->capture_default_str();
  command->add_flag("--progress", options->progress, "report progress even without a terminal");
  command->footer(
      "Examples:\n"
      "  seesaw make-case -o case.safetensors --batch 4 --heads 128 --len 4096\n"
      "  seesaw make-case -o mtp.safetensors --heads 16 --s-q 3 --causal --len-min 1 --len-max "
      "9000\n"
      "  seesaw make-case -o odd.safetensors --dtype fp16 --page-size 61 --spare-pages 100 --seed "
      "7");
  command->callback([options] { make_case(*options); });
}

}  // namespace seesaw::tools
