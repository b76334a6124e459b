// A case: the tensors of one dense-decoding call, as a safetensors file holds them. The format is
// documented in docs/case-format.md. Makes no library call, so that the fuzzer covers it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::tools {

struct CaseShape {
  int64_t batch = 0;
  int64_t s_q = 0;
  int64_t h_q = 0;
  int64_t h_kv = 0;
  int64_t d_qk = 0;
  int64_t num_pages = 0;
  int64_t page_size = 0;
  int64_t max_pages_per_sequence = 0;
  seesaw_dtype q_dtype = SEESAW_BFLOAT16;
  seesaw_dtype kv_dtype = SEESAW_BFLOAT16;
};

// A tensor where it lies in the file, or a copy where its address is no multiple of its element.
struct CaseTensor {
  const void* data = nullptr;
  uint64_t size_bytes = 0;
  std::vector<std::byte> copy;  // what data points to, if not empty
};

struct Case {
  CaseShape shape;
  CaseTensor q;                      // [b, s_q, h_q, d_qk]
  CaseTensor kv_cache;               // [num_pages, page_size, h_kv, d_qk]
  std::vector<int32_t> block_table;  // [b, max_pages_per_sequence]
  std::vector<int32_t> seq_lens;     // [b]
  std::optional<double> scale;       // from the metadata, as the next two
  std::optional<bool> causal;
  std::optional<int64_t> d_v;
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

// The values of a latent cache: 512 for the two row sizes of DeepSeek's models, else all columns.
constexpr int64_t default_d_v(int64_t d_qk) { return d_qk == 576 || d_qk == 512 ? 512 : d_qk; }

}  // namespace seesaw::tools
