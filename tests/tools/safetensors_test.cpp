// The reader: what the format allows is read, anything else is refused with a message.
#include "io/safetensors.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "raw_file.hpp"

namespace seesaw::tools {
namespace {

using test::expect_refusal;
using test::raw_file;
using test::tensor;

const std::string kFour(4, '\0');

void expect_bad(const std::vector<std::byte>& file, const std::string& part) {
  expect_refusal([&] { parse_safetensors(file, "file"); }, part);
}

void expect_bad_header(const std::string& header, const std::string& part) {
  expect_bad(raw_file(header, kFour), part);
}

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirBytes) {
  const auto file = raw_file("{" + tensor("b", "I32", "[1]", "[4,8]") + "," +
                                 tensor("a", "BF16", "[1,2]", "[0,4]") +
                                 ",\"__metadata__\":{\"scale\":\"0.5\"}}  ",
                             "aaaabbbb");
  const SafetensorsHeader header = parse_safetensors(file, "file");
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].dtype, FileDType::kBF16);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(header.tensors[1].begin, 4U);
  EXPECT_EQ(header.data_begin, file.size() - 8);
  EXPECT_EQ(header.metadata.at("scale"), "0.5");
  EXPECT_EQ(header.find("c"), nullptr);
}

TEST(Safetensors, ReadsScalarsEmptyTensorsAndEmptyFiles) {
  EXPECT_TRUE(parse_safetensors(raw_file("{}"), "file").tensors.empty());
  const auto file = raw_file("{" + tensor("s", "F32", "[]", "[0,4]") + "," +
                                 tensor("e", "F32", "[0,9223372036854775807,4]", "[0,0]") + "}",
                             kFour);
  EXPECT_EQ(parse_safetensors(file, "file").tensors.size(), 2U);
}

TEST(Safetensors, RefusesTruncatedFiles) {
  expect_bad({}, "the file has 0 bytes");
  expect_bad(std::vector<std::byte>(7), "the file has 7 bytes");
  const auto whole = raw_file("{" + tensor("a", "F32", "[1]", "[0,4]") + "}", kFour);
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> part(whole.begin(),
                                      whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(parse_safetensors(part, "file"), Failure) << size << " bytes";
  }
}

TEST(Safetensors, RefusesHeaderLengths) {
  for (const uint64_t length : {uint64_t{0}, uint64_t{1}, uint64_t{3}, uint64_t{1} << 63,
                                UINT64_MAX - 7, kMaxHeaderBytes + 1}) {
    expect_bad(raw_file("{}", "", length), "header length = " + std::to_string(length));
  }
}

TEST(Safetensors, NamesOtherFormats) {
  const auto bytes = [](std::string text) {
    text.resize(200, ' ');
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    return std::vector<std::byte>(data, data + text.size());
  };
  expect_bad(bytes("PK\x03\x04 archive/data.pkl"), "a zip archive, as PyTorch's .pt");
  expect_bad(bytes("\x80\x02"
                   "ctorch"),
             "a Python pickle");
  expect_bad(bytes("\x93NUMPY"), "NumPy's .npy");
  expect_bad(bytes("version https://git-lfs.github.com/spec/v1"), "git lfs pull");
  expect_bad(bytes("{\"metadata\": {\"total_size\": 1}}"), "one of the .safetensors files");
}

TEST(Safetensors, RefusesBrokenJson) {
  expect_bad_header("[]", "does not start with '{'");
  expect_bad_header("{]", "no valid JSON at byte");
  expect_bad_header("{}{}", "no valid JSON at byte");
  expect_bad_header("{\"a\":\"\xFF\xFE\"}", "no valid JSON at byte");
  expect_bad_header("{\"a\":1}", "the number 1");
  expect_bad_header("{\"a\":null}", "null");
  expect_bad_header("{\"a\":true}", "a boolean");
  expect_bad_header("{\"a\":{}}", "without dtype, shape or data_offsets");
  expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "without dtype");
  expect_bad_header("{\"a\":{\"color\":\"red\"}}", "the key \"color\"");
  expect_bad_header("{\"__metadata__\":{\"a\":{}}}", "nested too deep");
  expect_bad_header("{\"__metadata__\":{\"a\":1}}", "the number 1");
}

TEST(Safetensors, RefusesDeepNestingQuickly) {
  for (const char* opening : {"[", "{\"a\":"}) {
    std::string header = "{\"a\":";
    for (int i = 0; i < 5'000'000; ++i) {
      header += opening;
    }
    const auto start = std::chrono::steady_clock::now();
    expect_bad_header(header, "the header holds");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  }
}

TEST(Safetensors, RefusesNamesTwice) {
  const std::string a = tensor("a", "F32", "[1]", "[0,4]");
  expect_bad_header("{" + a + "," + a + "}", "the name \"a\" twice");
  expect_bad_header("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", "the key \"k\" twice");
  expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", "the key \"dtype\" twice");
}

TEST(Safetensors, RefusesShapes) {
  const auto with_shape = [](const std::string& shape) {
    return "{" + tensor("a", "F32", shape, "[0,4]") + "}";
  };
  expect_bad_header(with_shape("[2]"), "not the size of its shape");
  expect_bad_header(with_shape("[0]"), "not the size of its shape");
  expect_bad_header(with_shape("[-1]"), "the negative number -1");
  expect_bad_header(with_shape("[1.5]"), "no 64-bit integer");
  expect_bad_header(with_shape("[1e3]"), "no 64-bit integer");
  expect_bad_header(with_shape("[9223372036854775808]"), "dimension 0 = 9223372036854775808");
  expect_bad_header(with_shape("[99999999999999999999]"), "no 64-bit integer");
  expect_bad_header(with_shape("[4611686018427387904,4]"), "not the size of its shape");
  expect_bad_header(with_shape("[4294967296,4294967296,4294967296]"), "not the size of its shape");
  expect_bad_header(with_shape("[[1]]"), "an array");
  expect_bad_header(with_shape("\"1\""), "a string");
  std::string many = "1";
  for (int i = 0; i < 40; ++i) {
    many += ",1";
  }
  expect_bad_header(with_shape("[" + many + "]"), "dimension 32");
}

TEST(Safetensors, RefusesOffsets) {
  const auto with_offsets = [](const std::string& offsets) {
    return "{" + tensor("a", "F32", "[1]", offsets) + "}";
  };
  expect_bad_header(with_offsets("[0,8]"), "the file holds 4 bytes of tensors");
  expect_bad_header(with_offsets("[4,0]"), "data_offsets = [4, 0)");
  expect_bad_header(with_offsets("[18446744073709551612,18446744073709551615]"), "the file holds");
  expect_bad_header(with_offsets("[0]"), "data_offsets of 1 numbers");
  expect_bad_header(with_offsets("[0,4,4]"), "the number 4");
}

TEST(Safetensors, RefusesOverlapsAndGaps) {
  const std::string a = tensor("a", "F32", "[1]", "[0,4]");
  const std::string eight(8, '\0');
  expect_bad(raw_file("{" + a + "," + tensor("b", "F32", "[1]", "[2,6]") + "}", eight),
             "it must begin at 4");
  expect_bad(raw_file("{" + a + "," + tensor("b", "F32", "[1]", "[0,4]") + "}", kFour),
             "it must begin at 4");
  expect_bad(raw_file("{" + tensor("b", "F32", "[1]", "[4,8]") + "}", eight), "it must begin at 0");
  expect_bad(raw_file("{" + a + "}", eight), "4 bytes after the tensors");
  expect_bad(raw_file("{}", kFour), "4 bytes after the tensors");
}

TEST(Safetensors, RefusesUnknownDTypes) {
  expect_bad_header("{" + tensor("a", "F17", "[1]", "[0,4]") + "}", "dtype = \"F17\"");
}

TEST(Safetensors, MessagesAreSafeForTerminals) {
  try {
    parse_safetensors(
        raw_file("{" + tensor("\\u001b[31m" + std::string(1000, 'x'), "F32", "[2]", "[0,4]") + "}",
                 kFour),
        "file");
    FAIL();
  } catch (const Failure& failure) {
    const std::string message = failure.what();
    EXPECT_EQ(message.find('\x1b'), std::string::npos);
    EXPECT_LT(message.size(), 400U);
  }
}

TEST(Safetensors, RefusesWhatIsNoFile) {
  for (const char* path : {"/", "/dev/null", "/nowhere/file", ""}) {
    try {
      const SafetensorsFile file(path);
      FAIL() << path;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.code(), ExitCode::kBadInput) << failure.what();
    }
  }
}

}  // namespace
}  // namespace seesaw::tools
