#include "io/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "error.hpp"

namespace seesaw::tools {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBufferBytes = size_t{1} << 20;

// Where the bytes will lie, or a refusal: replacing a device or a directory is never meant.
std::string resolve_output(const std::string& path) {
  if (path.empty()) {
    throw bad_input({"output", "an empty path", "the output must be a file", "Give its path."});
  }
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    if (lstat(path.c_str(), &info) == 0) {  // renaming would replace the link, not follow it
      throw bad_input({path, "is a symbolic link to no file", "the output must be a file",
                       "Remove the link, or name the file that it should lead to."});
    }
    return path;  // new; a missing directory shows when the file is created
  }
  if (!S_ISREG(info.st_mode)) {
    throw bad_input({path, S_ISDIR(info.st_mode) ? "is a directory" : "is not a regular file",
                     "the output must be a file", "Choose another path for the output."});
  }
  if (access(path.c_str(), W_OK) != 0) {
    throw bad_input({path, std::string("cannot be written: ") + std::strerror(errno),
                     "the output must be writable", "Choose another path or change its mode."});
  }
  std::error_code error;
  const fs::path resolved = fs::canonical(path, error);
  return error ? path : resolved.string();
}

// The same file by whatever name, there or not yet.
bool same_file(const std::string& first, const std::string& second) {
  if (first.empty() || second.empty()) {
    return false;
  }
  struct stat a = {};
  struct stat b = {};
  const bool first_is_there = stat(first.c_str(), &a) == 0;
  if (first_is_there != (stat(second.c_str(), &b) == 0)) {
    return false;
  }
  if (first_is_there) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  }
  std::error_code first_error;  // a path that cannot be followed is nobody's file
  std::error_code second_error;
  const fs::path to_first = fs::weakly_canonical(fs::absolute(first, first_error), first_error);
  const fs::path to_second = fs::weakly_canonical(fs::absolute(second, second_error), second_error);
  return !first_error && !second_error && to_first == to_second;
}

std::string temporary_name(const std::string& path) {
  std::random_device random;
  const uint64_t tag = (uint64_t{random()} << 32) | random();
  const fs::path target(path);
  std::string name = ".";  // hidden, and visibly unfinished
  name.append(target.filename().string()).append(".").append(std::to_string(tag)).append(".part");
  return (target.parent_path() / name).string();
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path)
    : path_(resolve_output(path)), temporary_(temporary_name(path_)) {
  buffer_.reserve(kBufferBytes);
  // Registered before it exists: at no moment can a signal leave it behind.
  guard_ = std::make_unique<RemoveOnSignal>(temporary_);
  fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) {
    throw bad_input({path, std::string("cannot be created: ") + std::strerror(errno),
                     "the output's directory must exist and be writable",
                     "Choose another path for the output."});
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    close(fd_);
    unlink(temporary_.c_str());
  }
}

void AtomicFile::fail(const std::string& what) const {
  throw bad_input({path_, what + ": " + std::strerror(errno),
                   "the disk must have room for the whole output",
                   "Free some space or choose another disk."});
}

void AtomicFile::write(const void* data, size_t size_bytes) {
  const auto* bytes = static_cast<const std::byte*>(data);
  while (size_bytes > 0) {
    const size_t count = std::min(size_bytes, kBufferBytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes, bytes + count);
    bytes += count;
    size_bytes -= count;
    if (buffer_.size() == kBufferBytes) {
      flush();
    }
  }
}

void AtomicFile::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t count = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (count < 0 && errno != EINTR) {
      fail("cannot be written");
    }
    done += count > 0 ? static_cast<size_t>(count) : 0;
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (fsync(fd_) != 0) {
    fail("cannot be synchronised");
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail("cannot be put in place");
  }
  close(fd_);
  fd_ = -1;
  guard_.reset();
  const std::string directory = fs::path(path_).parent_path().string();
  const int directory_fd =
      open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd >= 0) {  // some file systems cannot; the file itself is complete
    fsync(directory_fd);
    close(directory_fd);
  }
}

void check_outputs(const std::vector<std::string>& inputs,
                   const std::vector<std::string>& outputs) {
  for (auto output = outputs.begin(); output != outputs.end(); ++output) {
    if (output->empty()) {
      continue;
    }
    const auto is_this = [&](const std::string& other) { return same_file(other, *output); };
    if (std::any_of(inputs.begin(), inputs.end(), is_this)) {
      throw bad_input({*output, "is the input itself", "the output must be another file",
                       "Choose another path for the output."});
    }
    if (std::any_of(outputs.begin(), output, is_this)) {
      throw bad_input({*output, "is named for two outputs", "each output must be a file of its own",
                       "Choose another path for one of them."});
    }
    const AtomicFile probe(*output);  // gone at once: a folder may refuse in more ways than by mode
  }
}

void write_text_file(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace seesaw::tools
