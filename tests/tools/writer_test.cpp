// The writer: what it writes can be read, and nothing is left of what was not finished.
#include "io/safetensors_writer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "error.hpp"
#include "io/safetensors.hpp"

namespace seesaw::tools {
namespace {

namespace fs = std::filesystem;

class Writer : public testing::Test {
 protected:
  Writer() { fs::create_directories(folder_); }
  ~Writer() override { fs::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

 private:
  fs::path folder_ = fs::temp_directory_path() / ("seesaw_writer_test_" + std::to_string(getpid()));
};

const std::vector<TensorDeclaration> kTensors = {{"a", FileDType::kF32, {2}},
                                                 {"b", FileDType::kBF16, {1, 3}}};

TEST_F(Writer, WhatItWritesCanBeRead) {
  SafetensorsWriter writer(path("x"));
  writer.declare(kTensors, {{"key", "a \"value\"\n"}});
  writer.write("aaaa", 4);
  writer.write("AAAAbbbbbb", 10);
  EXPECT_FALSE(fs::exists(path("x")));
  writer.commit();
  const SafetensorsFile file(path("x"));
  EXPECT_EQ(file.header().metadata.at("key"), "a \"value\"\n");
  ASSERT_EQ(file.header().tensors.size(), 2U);
  EXPECT_EQ(file.header().data_begin % 64, 0U);
  const TensorEntry* b = file.header().find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->shape, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(std::memcmp(file.tensor_bytes() + b->begin, "bbbbbb", 6), 0);
  EXPECT_EQ(files(), 1U);
}

TEST_F(Writer, UnfinishedFilesGo) {
  {
    SafetensorsWriter writer(path("x"));
    writer.declare(kTensors, {});
    writer.write("aaaa", 4);
    EXPECT_THROW(writer.commit(), Failure);  // bytes are missing
  }
  EXPECT_EQ(files(), 0U);
}

TEST_F(Writer, RefusesMoreThanDeclared) {
  SafetensorsWriter writer(path("x"));
  writer.declare(kTensors, {});
  EXPECT_THROW(writer.write("aaaaAAAAbbbbbbc", 15), Failure);
}

TEST_F(Writer, RefusesSizesThatOverflow) {
  SafetensorsWriter writer(path("x"));
  EXPECT_THROW(writer.declare({{"a", FileDType::kF32, {int64_t{1} << 62, 8}}}, {}), Failure);
  EXPECT_THROW(writer.declare({{"a", FileDType::kF32, {-1}}}, {}), Failure);
}

TEST_F(Writer, KeepsTheOldFileUntilTheNewOneIsComplete) {
  write_text_file(path("x"), "old");
  {
    AtomicFile file(path("x"));
    file.write("new", 3);
  }
  std::string text;
  std::ifstream(path("x")) >> text;
  EXPECT_EQ(text, "old");
  write_text_file(path("x"), "new");
  std::ifstream(path("x")) >> text;
  EXPECT_EQ(text, "new");
  EXPECT_EQ(files(), 1U);
}

TEST_F(Writer, FollowsSymbolicLinks) {
  write_text_file(path("target"), "old");
  fs::create_symlink(path("target"), path("link"));
  write_text_file(path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  std::string text;
  std::ifstream(path("target")) >> text;
  EXPECT_EQ(text, "new");
}

TEST_F(Writer, RefusesImpossibleOutputs) {
  write_text_file(path("file"), "x");
  for (const std::string& bad : {path("."), path("missing/x"), path("file/x"),
                                 std::string("/dev/null"), std::string("/proc/x"), std::string()}) {
    try {
      const AtomicFile file(bad);
      FAIL() << bad;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.code(), ExitCode::kBadInput) << failure.what();
    }
  }
  EXPECT_EQ(files(), 1U);
}

TEST_F(Writer, NoticesTheInputUnderAnotherName) {
  write_text_file(path("file"), "x");
  fs::create_hard_link(path("file"), path("other"));
  EXPECT_THROW(check_outputs({path("file")}, {path("other")}), Failure);
  EXPECT_NO_THROW(check_outputs({path("file"), ""}, {path("new"), ""}));
  EXPECT_EQ(files(), 2U);  // the probe is gone
}

TEST_F(Writer, NoticesOneOutputNamedTwice) {
  fs::create_directory(path("folder"));
  fs::create_directory_symlink(path("folder"), path("link"));
  EXPECT_THROW(check_outputs({}, {path("folder/new"), path("link/new")}), Failure);
  EXPECT_THROW(check_outputs({}, {path("new"), path("folder/../new")}), Failure);
  EXPECT_NO_THROW(check_outputs({}, {path("new"), path("newer"), ""}));
  write_text_file(path("old"), "x");
  EXPECT_THROW(check_outputs({}, {path("old"), "", path("folder/../old")}), Failure);
  EXPECT_THROW(check_outputs({}, {path("missing/x")}), Failure);
  EXPECT_THROW(check_outputs({}, {path("folder")}), Failure);
}

TEST_F(Writer, RefusesALinkThatLeadsNowhere) {
  fs::create_symlink(path("nowhere"), path("link"));
  EXPECT_THROW(write_text_file(path("link"), "x"), Failure);
  EXPECT_TRUE(fs::is_symlink(path("link")));
}

TEST_F(Writer, ReportsAFullDisk) {
  // A limit on the size of files fails a write as a full disk does.
  EXPECT_EXIT(
      {
        rlimit limit = {};
        limit.rlim_cur = 4096;
        limit.rlim_max = 4096;
        setrlimit(RLIMIT_FSIZE, &limit);
        std::signal(SIGXFSZ, SIG_IGN);
        try {
          AtomicFile large(path("y"));
          const std::string bytes(size_t{3} << 20, 'x');
          large.write(bytes.data(), bytes.size());
          _exit(0);
        } catch (const Failure& failure) {
          _exit(static_cast<int>(failure.code()));
        }
      },
      testing::ExitedWithCode(2), "");
}

}  // namespace
}  // namespace seesaw::tools
