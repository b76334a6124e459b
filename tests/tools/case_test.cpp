// A case: names, ranks, dtypes, agreement of shapes, metadata, alignment.
#include "case.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>

#include "raw_file.hpp"

namespace seesaw::tools {
namespace {

using test::expect_refusal;
using test::raw_file;
using test::tensor;

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

struct Part {
  std::string dtype;
  std::string shape;
  std::string data;
};

// b 2, s_q 1, h_q 3, d_qk 4; 2 pages of 2 tokens; lengths 3 and 0.
struct Builder {
  std::map<std::string, Part> parts = {
      {"kv_cache", {"BF16", "[2,2,1,4]", std::string(32, '\0')}},
      {"q", {"F16", "[2,1,3,4]", std::string(48, '\0')}},
      {"block_table", {"I32", "[2,2]", bytes_of<int32_t>({1, 0, -1, -1})}},
      {"seq_lens", {"I32", "[2]", bytes_of<int32_t>({3, 0})}}};
  std::string metadata;
  size_t padding = 0;
  uint64_t max_copy_bytes = 1000;

  Case read() const {
    std::string header = "{";
    std::string data;
    for (const auto& [name, part] : parts) {
      const size_t end = data.size() + part.data.size();
      header += tensor(name, part.dtype, part.shape,
                       "[" + std::to_string(data.size()) + "," + std::to_string(end) + "]") +
                ",";
      data += part.data;
    }
    header += "\"__metadata__\":{" + metadata + "}}";
    header.append((8 - header.size() % 8) % 8 + padding, ' ');
    file = raw_file(header, data);
    const SafetensorsHeader parsed = parse_safetensors(file, "file");
    return read_case(parsed, file.data() + parsed.data_begin, max_copy_bytes, "file");
  }

  mutable std::vector<std::byte> file;  // what the last case points into
};

void expect_bad(const Builder& builder, const std::string& part) {
  expect_refusal([&] { builder.read(); }, part);
}

TEST(Case, ReadsShapesAndLists) {
  const Builder builder;
  const Case result = builder.read();
  EXPECT_EQ(result.problem.batch, 2);
  EXPECT_EQ(result.problem.s_q, 1);
  EXPECT_EQ(result.problem.h_q, 3);
  EXPECT_EQ(result.problem.h_kv, 1);
  EXPECT_EQ(result.problem.d_qk, 4);
  EXPECT_EQ(result.problem.page_size, 2);
  EXPECT_EQ(result.args.kv_cache.shape[0], 2);
  EXPECT_EQ(result.problem.max_pages_per_sequence, 2);
  EXPECT_EQ(result.problem.q_dtype, SEESAW_FLOAT16);
  EXPECT_EQ(result.problem.kv_format, SEESAW_FORMAT_BFLOAT16);
  EXPECT_EQ(result.block_table, (std::vector<int32_t>{1, 0, -1, -1}));
  EXPECT_EQ(result.seq_lens, (std::vector<int32_t>{3, 0}));
  EXPECT_EQ(result.args.seq_lens.data, result.seq_lens.data());
  EXPECT_TRUE(result.copies.empty());
  EXPECT_EQ(result.args.scale, 0.5F);  // 1 / sqrt(d_qk)
  EXPECT_EQ(result.problem.causal, 0);
  EXPECT_EQ(result.problem.d_v, 0);
}

TEST(Case, AcceptsCachesWithoutHeadsAndWideIntegers) {
  Builder builder;
  builder.parts["kv_cache"].shape = "[2,2,4]";
  // Unused entries may hold anything, also what fits no 32-bit integer.
  builder.parts["block_table"] = {"I64", "[2,2]", bytes_of<int64_t>({1, 0, INT64_MAX, -7})};
  builder.parts["seq_lens"] = {"I64", "[2]", bytes_of<int64_t>({3, 0})};
  const Case result = builder.read();
  EXPECT_EQ(result.problem.h_kv, 1);
  EXPECT_EQ(result.block_table, (std::vector<int32_t>{1, 0, -1, -7}));
}

// Sequences of 3 and no query tokens.
Builder ragged_builder() {
  Builder builder;
  builder.parts["q"] = {"F16", "[3,3,4]", std::string(72, '\0')};
  builder.parts["cu_seqlens_q"] = {"I64", "[3]", bytes_of<int64_t>({0, 3, 3})};
  builder.parts["tree_mask"] = {"U8", "[3,1]", "\1\3\7"};
  return builder;
}

TEST(Case, ReadsRaggedQueries) {
  const Builder builder = ragged_builder();
  const Case result = builder.read();
  EXPECT_EQ(result.problem.ragged, 1);
  EXPECT_EQ(result.problem.batch, 2);
  EXPECT_EQ(result.problem.s_q, 3);  // the most of a sequence
  EXPECT_EQ(result.problem.h_q, 3);
  EXPECT_EQ(result.problem.d_qk, 4);
  EXPECT_EQ(result.problem.tree_mask, 1);
  EXPECT_EQ(result.args.q.rank, 3);
  EXPECT_EQ(result.args.tree_mask.rank, 2);
  EXPECT_EQ(result.cu_seqlens_q, (std::vector<int32_t>{0, 3, 3}));
  EXPECT_EQ(result.args.cu_seqlens_q.data, result.cu_seqlens_q.data());
  EXPECT_EQ(result.query_lens(), (std::vector<int32_t>{3, 0}));
  EXPECT_TRUE(Builder().read().query_lens().empty());
}

TEST(Case, RefusesRaggedQueriesThatAreNotTheSequences) {
  const auto begins = [](std::vector<int64_t> numbers) {
    Builder builder = ragged_builder();
    builder.parts["cu_seqlens_q"] = {"I64", "[" + std::to_string(numbers.size()) + "]",
                                     bytes_of<int64_t>(numbers)};
    return builder;
  };
  expect_bad(begins({0, 3}), "cu_seqlens_q: shape [2], allowed: [3], one more than seq_lens");
  expect_bad(begins({1, 3, 3}), "cu_seqlens_q: element 0 = 1, allowed: 0 to 0");
  expect_bad(begins({0, -1, 3}), "cu_seqlens_q: element 1 = -1, allowed: 0 to 3");
  expect_bad(begins({0, 4, 3}), "cu_seqlens_q: element 1 = 4, allowed: 0 to 3");
  expect_bad(begins({0, 3, 2}), "cu_seqlens_q: element 2 = 2, allowed: 3 to 3");
  Builder builder = ragged_builder();
  builder.parts["q"] = {"F16", "[2,1,3,4]", std::string(48, '\0')};
  expect_bad(builder, "allowed: [total_q, h_q, d_qk], as cu_seqlens_q is there");
  builder = ragged_builder();
  builder.parts["tree_mask"] = {"U8", "[2,1]", "\1\1"};
  expect_bad(builder, "tree_mask: total_q = 2, q has 3");
  builder = ragged_builder();
  builder.parts.erase("cu_seqlens_q");
  expect_bad(builder, "allowed: [b, s_q, h_q, d_qk]");
  builder = ragged_builder();
  builder.parts["cu_seqlens_q"].dtype = "F64";
  expect_bad(builder, "cu_seqlens_q: dtype F64, allowed: I32, I64");
}

TEST(Case, RefusesMissingTensors) {
  for (const char* name : {"q", "kv_cache", "block_table", "seq_lens"}) {
    Builder builder;
    builder.parts.erase(name);
    expect_bad(builder, std::string("file: ") + name + ": no such tensor");
  }
}

TEST(Case, RefusesRanksAndEmptyDimensions) {
  for (const char* name : {"q", "kv_cache", "block_table", "seq_lens"}) {
    Builder builder;
    Part& part = builder.parts[name];
    part.shape = "[1," + std::string("1,1,1,") + part.shape.substr(1);
    expect_bad(builder, std::string("file: ") + name + ": shape");
    part = {"F32", "[0]", ""};
    expect_bad(builder, "allowed: dimensions of at least 1");
  }
}

TEST(Case, RefusesDTypes) {
  Builder builder;
  builder.parts["q"] = {"F64", "[2,1,3,4]", std::string(192, '\0')};
  expect_bad(builder, "file: q: dtype F64");
  builder = {};
  builder.parts["kv_cache"] = {"F8_E4M3", "[2,2,1,4]", std::string(16, '\0')};
  expect_bad(builder, "file: kv_cache: dtype F8_E4M3");
  builder = {};
  builder.parts["seq_lens"].dtype = "F32";
  expect_bad(builder, "file: seq_lens: dtype F32");
  builder = {};
  builder.parts["block_table"].dtype = "U32";
  expect_bad(builder, "file: block_table: dtype U32");
}

TEST(Case, RefusesShapesThatDisagree) {
  Builder builder;
  builder.parts["kv_cache"].shape = "[2,1,1,8]";
  expect_bad(builder, "d_qk = 8, q has 4");
  builder = {};
  builder.parts["seq_lens"] = {"I32", "[1]", bytes_of<int32_t>({3})};
  expect_bad(builder, "b = 1, q has 2");
  builder = {};
  builder.parts["block_table"].shape = "[4,1]";
  expect_bad(builder, "b = 4, q has 2");
}

TEST(Case, RefusesIntegersThatDoNotFit) {
  Builder builder;
  builder.parts["seq_lens"] = {"I64", "[2]", bytes_of<int64_t>({int64_t{1} << 31, 0})};
  expect_bad(builder, "element 0 = 2147483648");
  builder = {};
  builder.parts["block_table"] = {"I64", "[2,2]", bytes_of<int64_t>({1, int64_t{1} << 40, 0, 0})};
  expect_bad(builder, "entry [0, 1] = 1099511627776");
}

TEST(Case, ReadsMetadata) {
  Builder builder;
  builder.metadata =
      R"("scale":"0.25","causal":"True","d_v":"3","lse_base":"2","note":"ignored","h_q":"9")";
  const Case result = builder.read();
  EXPECT_EQ(result.args.scale, 0.25F);
  EXPECT_EQ(result.problem.causal, 1);
  EXPECT_EQ(result.problem.d_v, 3);
  EXPECT_EQ(result.problem.lse_base, SEESAW_LSE_BASE2);
  EXPECT_EQ(result.problem.h_q, 3);  // the tensors tell it
}

TEST(Case, SettingsAreReadAsTheyAreWritten) {
  Builder builder;
  seesaw_dense_decode_problem problem{.d_v = 2,
                                      .causal = 1,
                                      .lse_base = SEESAW_LSE_BASE2,
                                      .empty_lse = SEESAW_EMPTY_LSE_POSITIVE_INFINITY,
                                      .window = 7};
  for (const auto& [name, text] : settings_of(problem, {.scale = 0.3F, .soft_cap = 30.0F})) {
    builder.metadata += (builder.metadata.empty() ? "\"" : ",\"") + name + "\":\"" + text + "\"";
  }
  const Case result = builder.read();
  EXPECT_EQ(result.args.scale, 0.3F);
  EXPECT_EQ(result.args.soft_cap, 30.0F);
  EXPECT_EQ(result.problem.soft_cap, 1);
  EXPECT_EQ(result.problem.window, 7);
  EXPECT_EQ(result.problem.d_v, 2);
  EXPECT_EQ(result.problem.causal, 1);
  EXPECT_EQ(result.problem.lse_base, SEESAW_LSE_BASE2);
  EXPECT_EQ(result.problem.empty_lse, SEESAW_EMPTY_LSE_POSITIVE_INFINITY);
}

TEST(Case, RefusesMetadata) {
  for (const char* text :
       {R"("scale":"nan")", R"("scale":"inf")", R"("scale":"")", R"("scale":"1x")",
        R"("causal":"maybe")", R"("lse_base":"10")", R"("d_v":"0")", R"("d_v":"5")",
        R"("d_v":"4.0")", R"("d_v":"99999999999999999999")"}) {
    Builder builder;
    builder.metadata = text;
    expect_bad(builder, "file: __metadata__");
  }
}

TEST(Case, CopiesUnalignedTensorsThatFit) {
  Builder builder;
  builder.padding = 1;
  const Case result = builder.read();
  ASSERT_EQ(result.copies.size(), 2U);
  EXPECT_EQ(result.args.kv_cache.data, result.copies[1].data());
  EXPECT_EQ(result.copies[1].size(), 32U);
  EXPECT_EQ(result.block_table[0], 1);
  builder.max_copy_bytes = 31;
  expect_bad(builder, "no multiple of its element");
}

}  // namespace
}  // namespace seesaw::tools
