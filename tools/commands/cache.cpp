// seesaw cache: the formats of caches, and case files from one to another.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cache_convert.hpp"
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
#include "reference_results.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;

// ---- formats

void list_formats(const JsonOption& json_option) {
  if (json_option.wanted()) {
    Json json = Json::array();
    for (const FormatFacts& format : description().formats) {
      json.push_back(Json::parse(format.all));
    }
    emit_json(json, json_option.target);
  }
  if (json_option.target != "-") {
    Table table({"format", "latent", "rotary", "bytes of a token", "whose"});
    for (const FormatFacts& f : description().formats) {
      table.add({f.name, std::to_string(f.d_latent), std::to_string(f.d_rope),
                 std::to_string(f.token_bytes), f.help});
    }
    print_out("{}float32, bfloat16 and float16 caches have any number of columns.\n", table.text());
  }
}

// ---- convert

struct ConvertOptions {
  std::string input;
  std::string output;
  std::string format;
  std::string scales = "power_of_two";
  std::optional<double> kv_scale;
  bool attention = true;
  bool progress = false;
  JsonOption json;
};

// The format of a name, for tokens of these columns.
Conversion conversion_to(const std::string& name, int64_t columns) {
  for (const auto& [plain, id, size] : {std::tuple{"float32", SEESAW_FORMAT_FLOAT32, 4},
                                        {"bfloat16", SEESAW_FORMAT_BFLOAT16, 2},
                                        {"float16", SEESAW_FORMAT_FLOAT16, 2}}) {
    if (name == plain) {
      return {.format = id, .d_latent = columns, .columns = columns, .token_elements = columns};
    }
  }
  std::string names = "float32, bfloat16, float16";
  for (const FormatFacts& format : description().formats) {
    names += ", " + format.name;
    if (name != format.name) {
      continue;
    }
    if (format.columns() != columns) {
      throw bad_input({"--to", fmt::format("{} with tokens of {} columns", name, columns),
                       fmt::format("allowed: tokens of {}", format.columns()),
                       "Choose another format, or a case of that d_qk."});
    }
    return {.format = format.id,
            .d_latent = format.d_latent,
            .columns = columns,
            .token_elements = format.token_bytes};
  }
  throw bad_input({"--to", name, "allowed: " + names, "`seesaw cache formats` tells them apart."});
}

bool has_tensor_scale(int32_t format) {
  const auto& formats = description().formats;
  return std::any_of(formats.begin(), formats.end(), [format](const FormatFacts& f) {
    return f.id == format && f.has_tensor_scale;
  });
}

// Tokens that sequences have on each page. A page of several sequences counts the most.
std::vector<int64_t> live_tokens(const Case& input, const seesaw_dense_decode_problem& problem) {
  std::vector<int64_t> live(static_cast<size_t>(input.args.kv_cache.shape[0]));
  const auto columns = static_cast<size_t>(problem.max_pages_per_sequence);
  for (size_t i = 0; i < input.seq_lens.size(); ++i) {
    for (size_t c = 0; c < columns; ++c) {
      const int64_t left = input.seq_lens[i] - static_cast<int64_t>(c) * problem.page_size;
      const int32_t page = input.block_table[i * columns + c];
      if (left > 0 && page >= 0 && page < input.args.kv_cache.shape[0]) {
        int64_t& most = live[static_cast<size_t>(page)];
        most = std::max(most, std::min(left, problem.page_size));
      }
    }
  }
  return live;
}

// Attention on both caches, in double up to its result in float.
struct AttentionLoss {
  Loss out;
  double largest_lse_error = 0.0;
};

AttentionLoss attention_loss(const seesaw_dense_decode_problem& problem, const Case& input,
                             const Conversion& conversion, const std::vector<std::byte>& cache) {
  seesaw_dense_decode_problem converted = problem;
  converted.kv_format = conversion.format;
  converted.kv_columns = converted.kv_token_stride = converted.kv_head_stride = 0;
  converted.kv_page_stride = problem.page_size * conversion.token_elements;
  seesaw_dense_decode_args args = input.args;
  const bool bytes = conversion.format > SEESAW_FORMAT_FLOAT16;
  args.kv_cache =
      make_tensor(cache.data(), bytes ? SEESAW_UINT8 : static_cast<seesaw_dtype>(conversion.format),
                  {input.args.kv_cache.shape[0], problem.page_size, 1, conversion.token_elements});
  args.kv_scale = make_tensor(&conversion.kv_scale, SEESAW_FLOAT32, {1});
  const Results before = reference_results(problem, input.args);
  const Results after = reference_results(converted, args);
  AttentionLoss loss;
  for (size_t i = 0; i < before.out.size(); ++i) {
    loss.out.add(before.out[i], after.out[i]);
  }
  for (size_t i = 0; i < before.lse.size(); ++i) {
    const double error = std::fabs(double{after.lse[i]} - double{before.lse[i]});
    loss.largest_lse_error = std::max(loss.largest_lse_error, std::isnan(error) ? 0.0 : error);
  }
  return loss;
}

// The scale with which the case's largest number is the type's largest.
float fitting_scale(const seesaw_dense_decode_problem& problem, const Case& input,
                    const std::vector<int64_t>& live) {
  constexpr float kLargestE4M3 = 448.0F;
  PageConverter reader(problem, input.args,
                       {.format = SEESAW_FORMAT_FLOAT32,
                        .d_latent = problem.d_qk,
                        .columns = problem.d_qk,
                        .token_elements = problem.d_qk});
  float largest = 0.0F;
  for (size_t page = 0; page < live.size(); ++page) {
    if (live[page] > 0) {
      reader.convert(static_cast<int64_t>(page));
      largest = std::max(largest, reader.largest_before(live[page]));
    }
  }
  return largest > 0.0F ? largest / kLargestE4M3 : 1.0F;
}

Json loss_json(const Loss& loss) {
  return {{"numbers", loss.numbers},
          {"largest_error", loss.largest_error},
          {"largest_relative_error", loss.largest_relative_error},
          {"rms_error", loss.rms()},
          {"relative_rms_error", loss.relative_rms()}};
}

void print_loss(const char* what, const Loss& loss) {
  print_out("{:<10} {} numbers: rms error {:.3e} ({:.3g} of their rms), largest {:.3e}\n", what,
            loss.numbers, loss.rms(), loss.relative_rms(), loss.largest_error);
}

// A conversion of a case, from its file to the new one.
struct ConvertedCase {
  const Case& input;
  seesaw_dense_decode_problem problem;  // complete
  Conversion conversion;
  bool has_scale;             // of the whole cache
  std::vector<int64_t> live;  // tokens of each page

  // What it cost.
  Loss elements = {};
  std::optional<AttentionLoss> attention = {};
  uint64_t saturated = 0;

  int64_t num_pages() const { return static_cast<int64_t>(live.size()); }
  bool is_bytes() const { return is_quantised(conversion.format); }
  double bytes_before() const {
    return static_cast<double>(num_pages() * input.args.kv_cache.stride[0] *
                               column_bytes(problem.kv_format));
  }
  double bytes_after() const {
    return static_cast<double>(num_pages() * problem.page_size * conversion.token_elements *
                               column_bytes(conversion.format));
  }
};

ConvertedCase plan_conversion(const ConvertOptions& options, const Case& input) {
  const seesaw_dense_decode_problem problem = complete(input.problem);
  for (const seesaw_tensor& more : {input.args.tree_mask, input.args.sinks}) {
    if (more.data != nullptr) {
      throw bad_input({options.input, "a case with tree_mask or sinks", "allowed: neither",
                       "Convert the cache alone, or leave them out."});
    }
  }
  if (problem.h_kv != 1) {
    throw bad_input({options.input, fmt::format("h_kv = {}", problem.h_kv), "allowed: 1",
                     "Caches of MLA have one KV head."});
  }
  ConvertedCase converted{.input = input,
                          .problem = problem,
                          .conversion = conversion_to(options.format, problem.d_qk),
                          .has_scale = false,
                          .live = live_tokens(input, problem)};
  Conversion& conversion = converted.conversion;
  conversion.scales = options.scales == "exact" ? SEESAW_SCALES_EXACT : SEESAW_SCALES_POWER_OF_TWO;
  converted.has_scale = has_tensor_scale(conversion.format);
  if (converted.has_scale) {
    conversion.kv_scale = options.kv_scale ? static_cast<float>(*options.kv_scale)
                                           : fitting_scale(problem, input, converted.live);
  }
  return converted;
}

void declare(const ConvertOptions& options, const ConvertedCase& c, SafetensorsWriter* writer) {
  std::map<std::string, std::string> metadata = settings_of(c.problem, c.input.args);
  if (c.is_bytes()) {
    metadata["kv_format"] = options.format;
  }
  metadata["generator"] = fmt::format("seesaw {} cache convert", seesaw_version());
  std::vector<TensorDeclaration> tensors = {
      {"kv_cache",
       c.is_bytes() ? FileDType::kU8 : file_dtype(c.conversion.format),
       {c.num_pages(), c.problem.page_size, 1, c.conversion.token_elements}},
      {"q", file_dtype(c.problem.q_dtype), tensor_shape(c.input.args.q)},
      {"block_table", FileDType::kI32, tensor_shape(c.input.args.block_table)},
      {"seq_lens", FileDType::kI32, tensor_shape(c.input.args.seq_lens)}};
  if (c.problem.ragged != 0) {
    tensors.push_back({"cu_seqlens_q", FileDType::kI32, tensor_shape(c.input.args.cu_seqlens_q)});
  }
  if (c.has_scale) {
    tensors.push_back({"kv_scale", FileDType::kF32, {1}});
  }
  writer->declare(tensors, metadata);
}

// Converts and writes the cache; returns it if `keep`.
std::vector<std::byte> write_pages(const ConvertOptions& options, ConvertedCase* c, bool keep,
                                   SafetensorsWriter* writer) {
  std::vector<std::byte> whole;
  PageConverter converter(c->problem, c->input.args, c->conversion);
  Progress progress("cache convert", static_cast<double>(c->num_pages()), options.progress);
  for (int64_t page = 0; page < c->num_pages(); ++page) {
    progress.update(static_cast<double>(page), "converting pages");
    const std::vector<std::byte>& converted = converter.convert(page);
    converter.add_loss(c->live[static_cast<size_t>(page)], &c->elements);
    writer->write(converted.data(), converted.size());
    if (keep) {
      whole.insert(whole.end(), converted.begin(), converted.end());
    }
  }
  c->saturated = converter.saturated();
  return whole;
}

Json to_json(const ConvertOptions& options, const ConvertedCase& c) {
  return {
      {"input", options.input},
      {"output", options.output},
      {"format", options.format},
      {"scales", options.scales},
      {"kv_scale", c.has_scale ? Json(c.conversion.kv_scale) : Json(nullptr)},
      {"bytes_before", c.bytes_before()},
      {"bytes_after", c.bytes_after()},
      {"saturated", c.saturated},
      {"elements", loss_json(c.elements)},
      {"out", c.attention ? loss_json(c.attention->out) : Json(nullptr)},
      {"largest_lse_error", c.attention ? Json(c.attention->largest_lse_error) : Json(nullptr)}};
}

void print_text(const ConvertOptions& options, const ConvertedCase& c) {
  print_out("{} -> {}: {}, {} to {}{}\n", options.input, options.output, options.format,
            bytes_text(c.bytes_before()), bytes_text(c.bytes_after()),
            c.has_scale ? fmt::format(", kv_scale {:.6g}", c.conversion.kv_scale) : "");
  print_loss("cache", c.elements);
  if (c.attention) {
    print_loss("out", c.attention->out);
    print_out("lse        largest error {:.3e}\n", c.attention->largest_lse_error);
  }
  if (c.saturated > 0) {
    print_out("saturated  {} numbers were too large for their scale\n", c.saturated);
  }
}

void convert(const ConvertOptions& options) {
  const CaseFile input(options.input);
  check_outputs({options.input}, {options.output, options.json.file()});
  ConvertedCase converted = plan_conversion(options, input.contents);
  SafetensorsWriter writer(options.output);
  declare(options, converted, &writer);
  const std::vector<std::byte> cache = write_pages(options, &converted, options.attention, &writer);
  const seesaw_dense_decode_args& args = input.contents.args;
  writer.write(args.q.data, packed_bytes(args.q));
  writer.write(args.block_table.data, packed_bytes(args.block_table));
  writer.write(args.seq_lens.data, packed_bytes(args.seq_lens));
  if (converted.problem.ragged != 0) {
    writer.write(args.cu_seqlens_q.data, packed_bytes(args.cu_seqlens_q));
  }
  if (converted.has_scale) {
    writer.write(&converted.conversion.kv_scale, sizeof(float));
  }
  if (options.attention) {
    converted.attention =
        attention_loss(converted.problem, input.contents, converted.conversion, cache);
  }
  writer.commit();
  if (options.json.wanted()) {
    emit_json(to_json(options, converted), options.json.target);
  }
  if (options.json.target != "-") {
    print_text(options, converted);
  }
}

}  // namespace

void register_cache(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "cache", "Formats of caches: list them, convert a case's cache and tell what that costs");
  command->require_subcommand(1);

  auto json = std::make_shared<JsonOption>();
  CLI::App* formats = command->add_subcommand("formats", "The formats that are no dtype's");
  add_json_option(*formats, json.get());
  formats->callback([json] { list_formats(*json); });

  auto options = std::make_shared<ConvertOptions>();
  CLI::App* converting = command->add_subcommand(
      "convert",
      "A case's cache in another format; the error of the cache's own numbers, and of attention on "
      "it against the reference on both");
  converting->add_option("case", options->input, "the .safetensors file to read")->required();
  converting->add_option("-o,--output", options->output, "the .safetensors file to write")
      ->required();
  converting->add_option("--to", options->format, "a format, or float32, bfloat16, float16")
      ->required();
  converting
      ->add_option(
          "--scales", options->scales,
          "power_of_two, or exact: the largest magnitude becomes the type's largest number")
      ->check(CLI::IsMember({"power_of_two", "exact"}))
      ->capture_default_str();
  converting
      ->add_option("--kv-scale", options->kv_scale,
                   "of formats with one scale; default: the largest magnitude over 448")
      ->check(CLI::PositiveNumber);
  converting->add_flag("!--no-attention", options->attention,
                       "do not run the reference on both caches, which takes the most time");
  converting->add_flag("--progress", options->progress, kProgressHelp);
  add_json_option(*converting, &options->json);
  converting->callback([options] { convert(*options); });

  command->footer(
      "Examples:\n"
      "  seesaw cache formats\n"
      "  seesaw make-case -o case.safetensors --batch 4 --heads 128 --len 4096\n"
      "  seesaw cache convert case.safetensors -o fp8.safetensors --to fp8_656\n"
      "  seesaw run fp8.safetensors --verify\n"
      "  seesaw cache convert fp8.safetensors -o back.safetensors --to bfloat16 --no-attention");
}

}  // namespace seesaw::tools
