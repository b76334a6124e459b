// Options that several commands share, and what they amount to. The parser is CLI11; its header is
// long, so only the files that define options include it.
#pragma once

#include <cstdint>
#include <string>

#include "seesaw/seesaw.hpp"
#include "synthetic.hpp"

namespace CLI {
class App;
}

namespace seesaw::tools {

// --json[=FILE]: machine-readable output instead of text.
struct JsonOption {
  std::string target;  // empty: not asked for; "-": standard output
  bool wanted() const { return !target.empty(); }
  std::string file() const { return target == "-" ? "" : target; }
};
void add_json_option(CLI::App& command, JsonOption* option);

// Where and how a call runs.
struct PlaceOptions {
  std::string device = "cpu";
  std::string kernel;
  std::string lse_base = "e";
  bool batch_invariant = false;
  int32_t threads = 0;
  std::string tuning;  // empty: SEESAW_TUNE_FILE's

  std::string tuning_file() const;  // the one that plans will read; empty: none
};
void add_place_options(CLI::App& command, PlaceOptions* options);

// What is asked, without data.
struct ShapeOptions {
  int64_t batch = 8;
  int64_t s_q = 1;
  int64_t h_q = 128;
  int64_t h_kv = 1;
  int64_t d_qk = 576;
  int64_t d_v = 0;  // 0: default_d_v
  int64_t page_size = 64;
  std::string dtype = "bf16";
  std::string kv_dtype;  // empty: as dtype
  bool causal = false;
};
// Without --batch and --heads where the command has lists of its own.
void add_shape_options(CLI::App& command, ShapeOptions* options);
void add_batch_and_heads(CLI::App& command, ShapeOptions* options);

// Lengths of the sequences.
struct LengthOptions {
  int64_t len = 4096;
  int64_t len_min = -1;  // -1: not given
  int64_t len_max = -1;
  uint64_t seed = 0;
  LengthRule rule() const;
};
void add_length_options(CLI::App& command, LengthOptions* options);

// The synthetic shape that options describe; throws Failure or Error if no kernel could have it.
SyntheticShape synthetic_shape(const ShapeOptions& options, uint64_t seed);

// Device, kernel, threads and flags of `options` in `descriptor`.
void apply(const PlaceOptions& options, DenseDecodeDescriptor* descriptor);

}  // namespace seesaw::tools
