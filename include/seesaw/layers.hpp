// Seesaw layers: C++20 over the C ABI of layers.h: header only, exceptions for errors, RAII for
// layers and caches. Equations, shapes and errors are documented there.
//
//   const auto layer = seesaw::layers::DeepSeekMLA::from_checkpoint("DeepSeek-V3", 0);
//   seesaw::layers::LatentCache cache(layer, {.batch = 4, .capacity = 4096,
//                                             .kv_format = SEESAW_FORMAT_FP8_656});
//   layer.forward(cache, prompt, out);   // x, out [4, s, d_model]: a prompt, then token by token
//   layer.forward(cache, token, out);
//
// Engines with pages of their own pass them instead: layer.forward({.x = x, .kv_cache = pages,
// .block_table = table, .seq_lens = lengths, .out = out}).
#ifndef SEESAW_LAYERS_HPP_
#define SEESAW_LAYERS_HPP_

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "seesaw/layers.h"
#include "seesaw/seesaw.hpp"

namespace seesaw::layers {

// Throws Error unless `status` of a seesaw_layers function is SEESAW_OK.
inline void check_layer(seesaw_status status) {
  if (status != SEESAW_OK) {
    throw Error(status, seesaw_layers_last_error());
  }
}

class LatentCache;

// The MLA layer of one model. Immutable, so it may be shared between threads. Movable.
class DeepSeekMLA {
 public:
  // config_json: the text of a config.json. tensors: by published name, copied.
  DeepSeekMLA(const std::string& config_json, std::span<const seesaw_named_tensor> tensors,
              const seesaw_mla_layer_options& options = {}) {
    seesaw_mla_layer* layer = nullptr;
    check_layer(seesaw_layers_mla_create(config_json.c_str(), tensors.data(), tensors.size(),
                                         &options, &layer));
    take(layer);
  }

  // Layer number `index` of a folder with config.json and safetensors files.
  static DeepSeekMLA from_checkpoint(const std::string& folder, int64_t index,
                                     const seesaw_mla_layer_options& options = {}) {
    DeepSeekMLA made;
    seesaw_mla_layer* layer = nullptr;
    check_layer(seesaw_layers_mla_from_checkpoint(folder.c_str(), index, &options, &layer));
    made.take(layer);
    return made;
  }

  const seesaw_mla_layer_info& info() const noexcept { return info_; }
  const seesaw_mla_layer* get() const noexcept { return layer_.get(); }

  // Over pages of the caller's.
  void forward(const seesaw_mla_layer_args& args) const {
    check_layer(seesaw_layers_mla_forward(layer_.get(), &args));
  }

  // x, out: [b, s, d_model], the next s tokens of each of the cache's b sequences. If it throws,
  // the cache has the length that it had.
  void forward(LatentCache& cache, const seesaw_tensor& x, const seesaw_tensor& out,
               seesaw_mla_form form = SEESAW_MLA_AUTO) const;

 private:
  DeepSeekMLA() = default;
  void take(seesaw_mla_layer* layer) {
    layer_.reset(layer);
    check_layer(seesaw_layers_mla_get_info(layer, &info_));
  }
  struct Destroy {
    void operator()(seesaw_mla_layer* layer) const noexcept { seesaw_layers_mla_destroy(layer); }
  };
  std::unique_ptr<seesaw_mla_layer, Destroy> layer_;
  seesaw_mla_layer_info info_;
};

// What a LatentCache is made for.
struct CacheShape {
  int64_t batch = 1;     // sequences
  int64_t capacity = 0;  // tokens that each has room for, rounded up to whole pages
  int64_t page_size = 64;
  int32_t kv_format = 0;  // seesaw_format; 0: the layer's dtype
};

// Pages in host memory for sequences of one length that grow together: sequence i owns the pages
// [i n, (i + 1) n) of capacity / page_size = n. For a start; engines have pools of pages.
class LatentCache {
 public:
  LatentCache(const DeepSeekMLA& layer, const CacheShape& shape) : kv_format_(shape.kv_format) {
    int32_t dtype = 0;
    int64_t columns = 0;
    check_layer(seesaw_layers_mla_cache_row(layer.get(), shape.kv_format, &dtype, &columns));
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    constexpr int64_t kMostSlots = int64_t{1} << 38;
    const int64_t page = shape.page_size;
    const int64_t each = page > 0 && shape.capacity > 0 ? (shape.capacity - 1) / page + 1 : 0;
    if (shape.batch < 1 || each < 1 || page > kMost || shape.capacity > kMost - page ||
        shape.batch > kMost / each || shape.batch > kMostSlots / (each * page)) {
      throw Error(SEESAW_INVALID_ARGUMENT, "LatentCache: batch = " + std::to_string(shape.batch) +
                                               ", capacity = " + std::to_string(shape.capacity) +
                                               ", page_size = " + std::to_string(page) +
                                               ", allowed: 1 or more, 2^31 tokens of a sequence "
                                               "and 2^38 in all. Correct the shape.");
    }
    const int64_t pages = shape.batch * each;
    for (int64_t i = 0; i < pages; ++i) {
      table_.push_back(static_cast<int32_t>(i));
    }
    lengths_.assign(static_cast<size_t>(shape.batch), 0);
    const int64_t element = dtype == SEESAW_FLOAT32 ? 4 : dtype == SEESAW_UINT8 ? 1 : 2;
    memory_ = AlignedBuffer(static_cast<size_t>(pages * page * columns * element));
    std::memset(memory_.data(), 0, memory_.size());
    pages_ =
        make_tensor(memory_.data(), static_cast<seesaw_dtype>(dtype), {pages, page, 1, columns});
    capacity_ = each * page;
  }

  int64_t batch() const noexcept { return static_cast<int64_t>(lengths_.size()); }
  int64_t length() const noexcept { return lengths_.front(); }  // tokens of each sequence
  int64_t capacity() const noexcept { return capacity_; }
  int32_t kv_format() const noexcept { return kv_format_; }
  const seesaw_tensor& pages() const noexcept { return pages_; }
  seesaw_tensor block_table() const {
    return make_tensor(table_.data(), SEESAW_INT32,
                       {batch(), static_cast<int64_t>(table_.size()) / batch()});
  }
  seesaw_tensor lengths() const { return make_tensor(lengths_.data(), SEESAW_INT32, {batch()}); }

  // Drops the tokens from `length` on, of every sequence: of rejected drafts, say.
  void truncate(int64_t length) {
    if (length < 0 || length > this->length()) {
      throw Error(SEESAW_INVALID_ARGUMENT,
                  "LatentCache: truncate to " + std::to_string(length) + " tokens, allowed: 0 to " +
                      std::to_string(this->length()) + ". Pass the tokens to keep.");
    }
    set_length(length);
  }

 private:
  friend class DeepSeekMLA;
  void set_length(int64_t length) {
    lengths_.assign(lengths_.size(), static_cast<int32_t>(length));
  }

  int32_t kv_format_;
  int64_t capacity_ = 0;
  AlignedBuffer memory_;
  seesaw_tensor pages_;
  std::vector<int32_t> table_;
  std::vector<int32_t> lengths_;
};

inline void DeepSeekMLA::forward(LatentCache& cache, const seesaw_tensor& x,
                                 const seesaw_tensor& out, seesaw_mla_form form) const {
  const int64_t before = cache.length();
  const int64_t added = x.rank == 3 ? x.shape[1] : 0;  // the library refuses other ranks
  if (added > cache.capacity() - before) {
    throw Error(SEESAW_INVALID_ARGUMENT, "LatentCache: " + std::to_string(added) +
                                             " tokens behind " + std::to_string(before) +
                                             ", allowed: " + std::to_string(cache.capacity()) +
                                             " together. Make the cache with a larger capacity.");
  }
  cache.set_length(before + added);
  try {
    forward({.x = x,
             .kv_cache = cache.pages(),
             .block_table = cache.block_table(),
             .seq_lens = cache.lengths(),
             .out = out,
             .kv_format = cache.kv_format(),
             .form = form});
  } catch (...) {
    cache.set_length(before);
    throw;
  }
}

}  // namespace seesaw::layers

#endif  // SEESAW_LAYERS_HPP_
