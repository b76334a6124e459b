// Dense-decoding cases: the tables' rows by name, any other by options, and their device memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lab/device/device_memory.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::bench {

using namespace lab;  // device memory, timers and roofs

struct DecodeCase {
  int64_t b = 1;
  int64_t s_q = 1;
  int64_t h_q = 128;
  int64_t s_k = 1024;  // of every sequence; their mean if the lengths vary
  bool varied = false;
  bool causal = false;
  bool sustained = false;  // also timed in the sustained regime
  int64_t h_kv = 1;
  int64_t page_size = 64;
  seesaw_dtype dtype = SEESAW_BFLOAT16;

  // "b128.sq2.h128.s8192.var.causal"
  std::string name() const;
};

// Every dense-decoding point that this project compares itself at.
std::vector<DecodeCase> table_cases();

// Lengths: all s_k, or normal(s_k, s_k / 2) of a fixed seed, at least s_q.
std::vector<int32_t> lengths_of(const DecodeCase& c);

// What a case must do and move at least: padding and partial results do not count.
struct Work {
  double flops = 0.0;  // 2 s_q h_q sum(len) (576 + 512)
  double bytes = 0.0;  // 2 (sum(len) h_kv 576 + b s_q h_q (576 + 512))
};
Work work_of(const DecodeCase& c);

// The cache's pages, shared by all cases: random values, made once.
class Pool {
 public:
  explicit Pool(int64_t bytes, cudaStream_t stream);
  void* data() const { return memory_.as<void>(); }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_;
  DeviceBuffer memory_;
};

// A planned case with its inputs in device memory.
class DecodeRun {
 public:
  // `rotation_bytes`: calls walk through that many bytes of different pages before they come back
  // to the first; 0: every call reads the same pages.
  DecodeRun(const DecodeCase& c, const Pool& pool, int64_t rotation_bytes, cudaStream_t stream);

  int rotation() const { return rotation_; }  // calls until the pages repeat
  void schedule() const;
  void run(int call) const;  // call i reads the pages of turn i % rotation()
  // The arguments of layer `layer` of a model: a cache of its own, here one that begins `layer`
  // pages later.
  static constexpr int kLayers = 61;
  seesaw_dense_decode_args layer_args(int layer) const;
  const seesaw_call& call() const { return call_; }
  const DenseDecode& decode() const { return *decode_; }

 private:
  void place_pages(const DecodeCase& c, const std::vector<int32_t>& lengths, int64_t pool_pages,
                   int64_t rotation_bytes);

  cudaStream_t stream_;
  int rotation_ = 1;
  int64_t table_elements_ = 0;  // of one turn
  std::unique_ptr<DenseDecode> decode_;
  seesaw_dense_decode_args tensors_{};
  seesaw_call call_{};
  DeviceBuffer q_, table_, lens_, out_, lse_, schedule_, workspace_;
};

}  // namespace seesaw::bench
