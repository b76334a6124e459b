// A case: the inputs of one dense-decoding call, as a safetensors file holds them. The format is
// documented in docs/case-format.md; which tensors and which settings there are is the library's
// to say (describe.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "describe.hpp"
#include "io/safetensors.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::tools {

struct Case {
  Case() = default;
  Case(Case&&) = default;
  Case& operator=(Case&&) = default;

  // What tensors and metadata tell; 0: not told.
  seesaw_dense_decode_problem problem;
  // The inputs: q and the cache where they lie in the file, or in a copy where their address is no
  // multiple of their element.
  seesaw_dense_decode_args args;
  std::vector<int32_t> block_table;   // [b, max_pages_per_sequence]
  std::vector<int32_t> seq_lens;      // [b]
  std::vector<int32_t> cu_seqlens_q;  // [b + 1], or empty: s_q query tokens of each sequence
  std::vector<std::vector<std::byte>> copies;

  // Query tokens of each sequence, if ragged; else empty.
  std::vector<int32_t> query_lens() const;
};

// Checks names, shapes, dtypes and metadata of a parsed file, whose tensors start at `data`. Throws
// Failure; `path` is for messages. An unaligned tensor is copied if that takes at most
// `max_copy_bytes`. Lengths and page ids are the library's to check, when they are used.
Case read_case(const SafetensorsHeader& header, const std::byte* data, uint64_t max_copy_bytes,
               const std::string& path);

// A case in its mapped file.
struct CaseFile {
  explicit CaseFile(const std::string& path);

  SafetensorsFile file;
  Case contents;
};

// The metadata of a case: what its tensors do not tell, and the numbers of its call that are not 0.
std::map<std::string, std::string> settings_of(const seesaw_dense_decode_problem& problem,
                                               const seesaw_dense_decode_args& args);

}  // namespace seesaw::tools
