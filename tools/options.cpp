#include "options.hpp"

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "case.hpp"
#include "device.hpp"
#include "error.hpp"
#include "numbers.hpp"

namespace seesaw::tools {

void add_json_option(CLI::App& command, JsonOption* option) {
  // A flag with an optional value after '=': a separate word could be the case's path.
  command.add_flag("--json{-}", option->target,
                   "JSON on standard output instead of text; --json=FILE writes it to a file");
}

void add_place_options(CLI::App& command, PlaceOptions* options) {
  command.add_option("--device", options->device, "cpu, cuda or cuda:N")->capture_default_str();
  command.add_option("--kernel", options->kernel,
                     "insist on a kernel, e.g. reference.dense_decode (see `seesaw info`)");
  command.add_option("--lse-base", options->lse_base, "base of the log-sum-exp: e or 2")
      ->capture_default_str();
  command.add_flag("--batch-invariant", options->batch_invariant,
                   "a sequence's result depends neither on the others nor on the threads");
  command.add_option("--threads", options->threads, "CPU threads, 0 = all")->capture_default_str();
  command.add_option("--tuning", options->tuning,
                     "a file of `seesaw tune`, or none (default: what SEESAW_TUNE_FILE names)");
}

void add_batch_and_heads(CLI::App& command, ShapeOptions* options) {
  command.add_option("--batch", options->batch, "sequences")->capture_default_str();
  command.add_option("--heads", options->h_q, "query heads, h_q")->capture_default_str();
}

void add_shape_options(CLI::App& command, ShapeOptions* options) {
  command.add_option("--kv-heads", options->h_kv, "KV heads, h_kv")->capture_default_str();
  command.add_option("--s-q", options->s_q, "query tokens of each sequence")->capture_default_str();
  command.add_option("--d-qk", options->d_qk, "columns of a query and of a cached token")
      ->capture_default_str();
  command.add_option("--d-v", options->d_v, "columns of a value (512 for d_qk 576 and 512)");
  command.add_option("--page-size", options->page_size, "tokens of a page")->capture_default_str();
  command.add_option("--dtype", options->dtype, "of the queries: bf16, fp16, fp32")
      ->capture_default_str();
  command.add_option("--kv-dtype,--kv", options->kv_dtype, "of the cache (as --dtype)");
  command.add_flag("--causal", options->causal,
                   "query token i of s_q sees the first len - s_q + i + 1 keys");
}

void add_length_options(CLI::App& command, LengthOptions* options) {
  command.add_option("--len", options->len, "tokens of every sequence")->capture_default_str();
  command.add_option("--len-min", options->len_min,
                     "shortest length, drawn evenly up to --len-max");
  command.add_option("--len-max", options->len_max, "longest length");
  command.add_option("--seed", options->seed, "of everything random")->capture_default_str();
}

LengthRule LengthOptions::rule() const {
  if (len_min < 0 && len_max < 0) {
    return {len, len};
  }
  if (len_max < 0) {
    throw bad_input({"--len-min", std::to_string(len_min) + " without --len-max",
                     "needed: both ends of the range", "Give --len-max too."});
  }
  return {len_min < 0 ? 1 : len_min, len_max};
}

SyntheticShape synthetic_shape(const ShapeOptions& options, uint64_t seed) {
  SyntheticShape shape;
  shape.s_q = options.s_q;
  shape.h_q = options.h_q;
  shape.h_kv = options.h_kv;
  shape.d_qk = options.d_qk;
  shape.d_v = options.d_v != 0 ? options.d_v : default_d_v(options.d_qk);
  shape.page_size = options.page_size;
  shape.q_dtype = parse_dtype(options.dtype, "--dtype");
  shape.kv_dtype =
      options.kv_dtype.empty() ? shape.q_dtype : parse_dtype(options.kv_dtype, "--kv-dtype");
  shape.seed = seed;
  // The library's own validation, before anything is sized by these numbers.
  DenseDecodeDescriptor probe;
  probe.batch = options.batch;
  probe.s_q = shape.s_q;
  probe.h_q = shape.h_q;
  probe.h_kv = shape.h_kv;
  probe.d_qk = shape.d_qk;
  probe.d_v = shape.d_v;
  probe.page_size = shape.page_size;
  probe.q_dtype = shape.q_dtype;
  probe.kv_dtype = shape.kv_dtype;
  supports(probe);
  return shape;
}

std::string PlaceOptions::tuning_file() const {
  if (!tuning.empty()) {
    return tuning == "none" ? "" : tuning;
  }
  const char* environment = std::getenv("SEESAW_TUNE_FILE");
  return environment == nullptr ? "" : environment;
}

void apply(const PlaceOptions& options, DenseDecodeDescriptor* descriptor) {
  descriptor->device = parse_device(options.device);
  descriptor->kernel = options.kernel;
  descriptor->num_threads = options.threads;
  descriptor->tuning = options.tuning;
  if (options.lse_base != "e" && options.lse_base != "2") {
    throw bad_input(
        {"--lse-base", printable(options.lse_base), "allowed: e, 2", "Choose one of them."});
  }
  descriptor->flags |= options.lse_base == "2" ? uint32_t{SEESAW_LSE_BASE2} : 0;
  descriptor->flags |= options.batch_invariant ? uint32_t{SEESAW_BATCH_INVARIANT} : 0;
}

}  // namespace seesaw::tools
