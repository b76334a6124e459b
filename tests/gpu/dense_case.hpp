// One dense-decoding case on the GPU: inputs made on the device, dead memory poisoned, the call
// made through the public API, the results compared with the double reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device_reference.hpp"
#include "lab/device/device_memory.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::gpu_test {

using namespace lab;  // device memory

enum class Lengths { kFixed, kVaried };

// What a case asks for beside its shape; grids of cases combine them as bits.
enum Flag : uint32_t {
  kCausal = 1,
  kLseBase2 = 2,
  kEmptyLsePositive = 4,
  kBatchInvariant = 8,
  kCheckData = 16
};

struct DenseCase {
  int64_t b = 1;
  int64_t s_q = 1;
  int64_t s_k = 1;  // the longest sequence
  int64_t h_q = 16;
  int64_t h_kv = 1;
  int64_t d_qk = 576;
  int64_t page_size = 64;
  Lengths lengths = Lengths::kFixed;
  uint32_t flags = 0;  // Flag
  Element element = Element::kBFloat16;
  float q_sigma = 1.0F;
  float kv_sigma = 0.1F;
  int64_t spare_pages = 3;    // pages of the pool that no table entry names
  int64_t max_batch = 0;      // of the plan; 0 = b
  int64_t max_tokens = 0;     // of the plan; 0 = s_k
  int64_t row_padding = 0;    // elements between one token's rows of q and out and the next's
  int64_t token_padding = 0;  // elements between one token of the cache and the next
  uint64_t seed = 1;

  std::string name() const;
};

// Lengths of a case: all s_k, or random in [0, s_k] with one s_k and, from three on, one 0.
std::vector<int32_t> make_lengths(const DenseCase& c);

// A case's device memory and tensors. Reusable: prepare() for the next case.
class DenseRun {
 public:
  // Fills lengths, block table (random pages, dead entries out of range), live cache slots and q;
  // poisons everything else. `lengths` may be shorter than the case's batch.
  void prepare(const DenseCase& c, const std::vector<int32_t>& lengths);
  void prepare(const DenseCase& c) { prepare(c, make_lengths(c)); }

  // What plan() plans for.
  seesaw_dense_decode_problem problem() const;

  // Plans, by a kernel or the library's choice (null); schedules and runs on the stream.
  void plan(const char* kernel = nullptr);
  void schedule();
  void run();

  // Poisons out, lse and workspace, so that the next run() has to write everything.
  void poison_results();

  // Computes the truth and compares out and lse with it.
  Difference compare();

  // Host copies of the results, bit for bit.
  std::vector<uint16_t> out_bits() const;
  std::vector<float> lse() const;

  // New lengths (as many as prepared) and a new random block table in the same device memory.
  void change_lengths(const std::vector<int32_t>& lengths);

  const DenseCase& of() const { return case_; }
  const DenseDecode& decode() const { return *decode_; }
  seesaw_dense_decode_args& tensors() { return tensors_; }
  seesaw_call& call() { return call_; }
  ReferenceCall& reference() { return reference_; }
  const Stream& stream() const { return stream_; }
  const std::vector<int32_t>& block_table() const { return block_table_; }

 private:
  void place_pages(const std::vector<int32_t>& lengths);
  void fill_inputs();
  void make_tensors();

  DenseCase case_;
  Stream stream_;
  std::vector<int32_t> lengths_;
  std::vector<int32_t> block_table_;
  int64_t pages_per_sequence_ = 0;
  int64_t num_pages_ = 0;
  int64_t row_stride_q_ = 0;
  int64_t row_stride_out_ = 0;
  int64_t token_stride_ = 0;
  std::unique_ptr<DenseDecode> decode_;
  seesaw_dense_decode_args tensors_{};
  seesaw_call call_{};
  ReferenceCall reference_;
  DeviceBuffer q_, kv_, table_, lens_, out_, lse_, schedule_, workspace_;
  DeviceBuffer scores_, reference_out_, reference_lse_, allowed_out_, allowed_rows_, difference_;
};

// "" if the difference is within the contract's bounds, and those of FlashMLA's suite for values
// like its, else what is wrong.
std::string verdict(const DenseCase& c, const Difference& difference);

}  // namespace seesaw::gpu_test
