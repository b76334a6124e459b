// Every refusal of a configuration, of parameters, of a checkpoint and of a call: its kind, a
// message in four parts, and that nothing was written.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>

#include "layers/model.hpp"

namespace seesaw::testing {
namespace {

using layers::DeepSeekMLA;
using layers::LatentCache;

void expect_refused(const std::function<void()>& action, seesaw_status status,
                    const std::string& words) {
  try {
    action();
    FAIL() << "accepted, expected a refusal with: " << words;
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.status(), status) << message;
    const size_t arrived = message.find(": ");
    const size_t allowed = message.find(", ", arrived);
    const size_t remedy = message.find(". ", allowed);
    EXPECT_TRUE(arrived != message.npos && allowed != message.npos && remedy != message.npos &&
                std::isupper(static_cast<unsigned char>(message[remedy + 2])) != 0 &&
                message.back() == '.')
        << "not in four parts: " << message;
    EXPECT_NE(message.find(words), message.npos) << "message: " << message << "\nwanted: " << words;
  }
}

// The text with the first `from` replaced.
std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(DeepSeekMLAErrors, Configurations) {
  const Model model({.has_yarn = true}, SEESAW_FLOAT32);
  const std::string good = model.config();
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"{", "[{", "no JSON object"},
      {"\"hidden_size\": 40, ", "", "hidden_size = null"},
      {"\"kv_lora_rank\": 32", "\"kv_lora_rank\": null", "kv_lora_rank = null"},
      {"\"num_attention_heads\": 3", "\"num_attention_heads\": 0", "num_attention_heads = 0"},
      {"\"num_attention_heads\": 3", "\"num_attention_heads\": true", "num_attention_heads = true"},
      {"\"qk_nope_head_dim\": 12", "\"qk_nope_head_dim\": 12.5", "qk_nope_head_dim = 12.5"},
      {"\"qk_rope_head_dim\": 8", "\"qk_rope_head_dim\": 7", "qk_rope_head_dim = 7"},
      {"\"v_head_dim\": 10", "\"v_head_dim\": -1", "v_head_dim = -1"},
      {"\"v_head_dim\": 10", "\"v_head_dim\": 99999999999", "v_head_dim = 99999999999"},
      {"\"q_lora_rank\": 20", "\"q_lora_rank\": \"20\"", "q_lora_rank = \"20\""},
      {"10000", "1", "rope_theta = 1 "},
      {"1e-06", "0", "rms_norm_eps = 0 "},
      {"{\"h", "{\"attention_bias\": 1, \"h", "attention_bias = 1"},
      {"{\"h", "{\"rope_interleave\": \"no\", \"h", "rope_interleave = \"no\""},
      {"\"yarn\"", "\"linear\"", "rope_scaling of type \"linear\""},
      {"\"type\": \"yarn\"", "\"type\": null", "rope_scaling of type null"},
      {"\"type\"", "\"attention_factor\": 2, \"type\"", "\"attention_factor\" = 2"},
      {"\"factor\": 4.0", "\"factor\": 0.0", "factor = 0.0 in rope_scaling"},
      {"\"factor\": 4.000000, ", "", "rope_scaling without factor"},
      {"\"beta_fast\": 32", "\"beta_fast\": -32", "beta_fast = -32"},
      {"\"beta_fast\": 32.0", "\"beta_fast\": 0.0", "beta_fast = 0.0 in rope_scaling"},
      {"\"beta_fast\": 32.0", "\"beta_fast\": 0.0001", "rope_beta_fast = 0.0001"},
      {"\"mscale\": 0.9", "\"mscale\": \"a\", \"beta_slow\": 1", "mscale = \"a\""},
      {"\"mscale_all_dim\": 0.5", "\"mscale_all_dim\": -0.5", "mscale_all_dim = -0.5"},
      {"embeddings\": 32", "embeddings\": 0.5", "original_max_position_embeddings = 0.5"},
  };
  for (const auto& [from, to, words] : cases) {
    const std::string config = with(good, from, to);
    expect_refused([&] { DeepSeekMLA(config, model.tensors()); }, SEESAW_INVALID_ARGUMENT, words);
  }
  const std::string deep = "{\"a\": " + std::string(100000, '[');
  expect_refused([&] { DeepSeekMLA(deep, model.tensors()); }, SEESAW_INVALID_ARGUMENT, "too deep");
}

TEST(DeepSeekMLAErrors, Parameters) {
  const Model model({.bias = true}, SEESAW_FLOAT32);
  std::vector<seesaw_named_tensor> good = model.tensors();
  for (size_t i = 0; i < good.size(); ++i) {
    const std::string name = good[i].name;
    const auto expect = [&](const std::function<void(seesaw_named_tensor&)>& change,
                            seesaw_status status, const std::string& words) {
      std::vector<seesaw_named_tensor> tensors = good;
      change(tensors[i]);
      expect_refused([&] { DeepSeekMLA(model.config(), tensors); }, status, words);
    };
    const auto invalid = SEESAW_INVALID_ARGUMENT;
    expect([](auto& t) { t.name = nullptr; }, invalid, "no tensor " + name);
    expect([](auto& t) { t.tensor.shape[0] += 1; }, invalid, name + " has shape [");
    expect([](auto& t) { t.tensor.rank = 3; }, invalid, name + " has shape [");
    expect([](auto& t) { t.tensor.data = nullptr; }, invalid, name + " without data");
    expect([](auto& t) { t.tensor.device = {SEESAW_CUDA, 0}; }, invalid, name + " without data");
    expect([](auto& t) { t.tensor.stride[0] += 1; }, invalid, name + " with strides");
    expect([](auto& t) { t.tensor.dtype = SEESAW_INT32; }, SEESAW_INVALID_TYPE,
           name + " has dtype int32");
    expect([](auto& t) { t.tensor.dtype = SEESAW_UINT8; }, SEESAW_INVALID_TYPE, "_scale_inv");
  }
  good.push_back({"kv_b_proj.weight_scale_inv", good.front().tensor});
  for (seesaw_named_tensor& t : good) {
    t.tensor.dtype = t.name == std::string("kv_b_proj.weight") ? SEESAW_UINT8 : t.tensor.dtype;
  }
  expect_refused([&] { DeepSeekMLA(model.config(), good); }, SEESAW_INVALID_ARGUMENT,
                 "kv_b_proj.weight_scale_inv has shape");
}

TEST(DeepSeekMLAErrors, Options) {
  const Model model({}, SEESAW_FLOAT32);
  const auto expect = [&](const seesaw_mla_layer_options& options, seesaw_status status,
                          const std::string& words) {
    expect_refused([&] { model.layer(options); }, status, words);
  };
  expect({.device = {SEESAW_CUDA, 1}}, SEESAW_NOT_SUPPORTED, "device cuda:1");
  expect({.device = {3, 0}}, SEESAW_INVALID_ARGUMENT, "device type 3");
  expect({.dtype = SEESAW_INT32}, SEESAW_INVALID_TYPE, "dtype = 4");
  expect({.num_threads = -1}, SEESAW_INVALID_ARGUMENT, "num_threads = -1");
  expect({.prefix = "model."}, SEESAW_INVALID_ARGUMENT,
         "no tensor model.kv_a_proj_with_mqa.weight");
  expect({.struct_size = 0}, SEESAW_INVALID_ARGUMENT, "struct_size = 0");
  seesaw_mla_layer* layer = nullptr;
  EXPECT_EQ(seesaw_layers_mla_create(nullptr, nullptr, 0, nullptr, &layer),
            SEESAW_INVALID_ARGUMENT);
  EXPECT_EQ(seesaw_layers_mla_create("{}", nullptr, 1, nullptr, &layer), SEESAW_INVALID_ARGUMENT);
  EXPECT_EQ(seesaw_layers_mla_create("{}", nullptr, 0, nullptr, nullptr), SEESAW_INVALID_ARGUMENT);
  EXPECT_EQ(seesaw_layers_mla_get_info(nullptr, nullptr), SEESAW_INVALID_ARGUMENT);
  EXPECT_EQ(seesaw_layers_mla_forward(nullptr, nullptr), SEESAW_INVALID_ARGUMENT);
  seesaw_layers_mla_destroy(nullptr);
}

// A folder of its own, gone afterwards.
class Folder {
 public:
  Folder() { std::filesystem::create_directories(path_); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / ("seesaw_layers_" + std::to_string(getpid()));
};

TEST(DeepSeekMLAErrors, Checkpoints) {
  const Folder folder;
  const auto expect = [&](const std::string& words) {
    expect_refused([&] { DeepSeekMLA::from_checkpoint(folder.path(), 0); }, SEESAW_INVALID_ARGUMENT,
                   words);
  };
  expect_refused([&] { DeepSeekMLA::from_checkpoint(folder.path(), -1); }, SEESAW_INVALID_ARGUMENT,
                 "index = -1");
  expect("config.json: cannot be opened");
  folder.write("config.json", Model({}, SEESAW_FLOAT32).config());
  expect("no tensor model.layers.0.self_attn.kv_a_proj_with_mqa.weight");
  folder.write("a.safetensors", "PK\x03\x04 no tensors");
  expect("a zip archive");
  const std::string index = "model.safetensors.index.json";
  for (const char* text : {"", "[]", "{}", "{\"weight_map\": 1}",
                           "{\"weight_map\": {\"model.layers.0.self_attn.a\": 1}}",
                           "{\"weight_map\": {\"model.layers.0.self_attn.a\": \"../a\"}}"}) {
    folder.write(index, text);
    expect("without names of files in weight_map");
  }
  folder.write(index, "{\"weight_map\": {\"model.layers.0.self_attn.a\": \"b.safetensors\"}}");
  expect("b.safetensors: cannot be opened");
}

TEST(DeepSeekMLAErrors, Calls) {
  const Model model({}, SEESAW_FLOAT32);
  const DeepSeekMLA layer = model.layer();
  std::vector<float> x(2 * 3 * 40, 0.5F);
  std::vector<float> out(x.size(), 7.0F);
  std::vector<float> cache(4 * 8 * 40, 7.0F);
  std::vector<int32_t> table = {0, 1, 2, 3};
  std::vector<int32_t> lengths = {9, 3};
  const seesaw_mla_layer_args good{
      .x = make_tensor(x.data(), SEESAW_FLOAT32, {2, 3, 40}),
      .kv_cache = make_tensor(cache.data(), SEESAW_FLOAT32, {4, 8, 1, 40}),
      .block_table = make_tensor(table.data(), SEESAW_INT32, {2, 2}),
      .seq_lens = make_tensor(lengths.data(), SEESAW_INT32, {2}),
      .out = make_tensor(out.data(), SEESAW_FLOAT32, {2, 3, 40})};
  const auto expect = [&](const std::function<void(seesaw_mla_layer_args&)>& change,
                          seesaw_status status, const std::string& words) {
    for (const int32_t form : {SEESAW_MLA_AUTO, SEESAW_MLA_ABSORBED, SEESAW_MLA_EXPANDED}) {
      seesaw_mla_layer_args args = good;
      args.form = form;
      change(args);
      expect_refused([&] { layer.forward(args); }, status, words);
    }
  };
  const auto invalid = SEESAW_INVALID_ARGUMENT;
  expect([](auto& a) { a.struct_size = 3; }, invalid, "struct_size = 3");
  expect([](auto& a) { a.x.data = nullptr; }, invalid, "x is missing");
  expect([](auto& a) { a.x.rank = 2; }, invalid, "x has shape [2, 3]");
  expect([](auto& a) { a.x.shape[2] = 39; }, invalid, "x has shape [2, 3, 39]");
  expect([](auto& a) { a.x.shape[1] = 0; }, invalid, "x has shape [2, 0, 40]");
  expect([](auto& a) { a.x.stride[2] = 2; }, invalid, "x with strides");
  expect([](auto& a) { a.x.dtype = SEESAW_BFLOAT16; }, SEESAW_INVALID_TYPE, "x has dtype bfloat16");
  expect([](auto& a) { a.x.device = {SEESAW_CUDA, 0}; }, SEESAW_NOT_SUPPORTED, "x on a GPU");
  expect([](auto& a) { a.out.shape[0] = 1; }, invalid, "out has shape [1, 3, 40]");
  expect([](auto& a) { a.out.stride[1] = 1; }, invalid, "out with strides");
  expect([](auto& a) { a.out.dtype = SEESAW_FLOAT16; }, SEESAW_INVALID_TYPE,
         "out has dtype float16");
  expect([](auto& a) { a.kv_cache.rank = 3; }, invalid, "kv_cache has shape [4, 8, 1]");
  expect([](auto& a) { a.kv_cache.shape[2] = 2; }, invalid, "kv_cache has shape [4, 8, 2, 40]");
  expect([](auto& a) { a.kv_cache.shape[0] = INT64_MAX; }, invalid,
         "kv_cache of 9223372036854775807");
  expect([](auto& a) { a.kv_cache.stride[3] = 2; }, invalid, "stride");
  expect([](auto& a) { a.kv_scale = a.seq_lens; }, invalid, "kv_scale has shape [2]");
  expect([](auto& a) { a.kv_cache.shape[3] = 39; }, invalid, "39");
  expect([](auto& a) { a.kv_cache.dtype = SEESAW_UINT8; }, invalid, "a cache of bytes");
  expect([](auto& a) { a.kv_cache.dtype = SEESAW_INT32; }, SEESAW_INVALID_TYPE, "kv_format = 4");
  expect([](auto& a) { a.kv_format = 99; }, SEESAW_INVALID_TYPE, "kv_format = 99");
  expect([](auto& a) { a.kv_format = SEESAW_FORMAT_FP8_656; }, invalid, "");
  expect([](auto& a) { a.block_table.shape[0] = 1; }, invalid, "block_table has shape [1, 2]");
  expect([](auto& a) { a.block_table.dtype = SEESAW_INT64; }, SEESAW_INVALID_TYPE,
         "block_table has dtype int64");
  expect([](auto& a) { a.block_table.stride[1] = 2; }, invalid, "block_table with strides [2, 2]");
  expect([](auto& a) { a.seq_lens.shape[0] = 3; }, invalid, "seq_lens has shape [3]");
  expect([](auto& a) { a.block_table.shape[1] = 1; }, invalid, "seq_lens[0] = 9 with 1 pages of 8");
  expect([&](auto&) { table[1] = 4; }, invalid, "block_table[0, 1] = 4");
  expect([&](auto&) { table[1] = -1; }, invalid, "block_table[0, 1] = -1");
  table[1] = 1;
  for (const int32_t form : {-1, 3}) {
    seesaw_mla_layer_args args = good;
    args.form = form;
    expect_refused([&] { layer.forward(args); }, invalid, "form = ");
  }
  const auto untouched = [](const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float v) { return v == 7.0F; });
  };
  EXPECT_TRUE(untouched(out));
  EXPECT_TRUE(untouched(cache));
  layer.forward(good);
  EXPECT_FALSE(untouched(out));
}

TEST(DeepSeekMLAErrors, Caches) {
  const Model model({}, SEESAW_FLOAT32);
  const DeepSeekMLA layer = model.layer();
  const auto invalid = SEESAW_INVALID_ARGUMENT;
  expect_refused([&] { LatentCache(layer, {.capacity = 0}); }, invalid, "capacity = 0");
  expect_refused([&] { LatentCache(layer, {.batch = 0, .capacity = 1}); }, invalid, "batch = 0");
  expect_refused([&] { LatentCache(layer, {.capacity = 1, .page_size = 0}); }, invalid,
                 "page_size = 0");
  expect_refused([&] { LatentCache(layer, {.batch = int64_t{1} << 40, .capacity = 1}); }, invalid,
                 "batch = 1099511627776");
  expect_refused([&] { LatentCache(layer, {.capacity = 9, .kv_format = 17}); }, invalid,
                 "kv_format = 17 for latents of 32 + 8 columns");
  std::vector<float> x(2 * 40);
  LatentCache cache(layer, {.capacity = 1, .page_size = 1});
  const seesaw_tensor two = make_tensor(x.data(), SEESAW_FLOAT32, {1, 2, 40});
  expect_refused([&] { layer.forward(cache, two, two); }, invalid, "2 tokens behind 0");
  const seesaw_tensor one = make_tensor(x.data(), SEESAW_FLOAT32, {1, 1, 40});
  seesaw_tensor wrong = one;
  wrong.dtype = SEESAW_FLOAT16;
  expect_refused([&] { layer.forward(cache, wrong, one); }, SEESAW_INVALID_TYPE,
                 "x has dtype float16");
  EXPECT_EQ(cache.length(), 0);
  layer.forward(cache, one, one);
  EXPECT_EQ(cache.length(), 1);
  expect_refused([&] { cache.truncate(2); }, invalid, "truncate to 2 tokens");
}

}  // namespace
}  // namespace seesaw::testing
