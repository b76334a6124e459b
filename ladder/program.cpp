#include "ladder/program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <random>
#include <utility>

namespace seesaw::ladder {
namespace {

namespace fs = std::filesystem;

// A line stays one line, whatever the user gave.
std::string one_line(std::string text) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    c = byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  return text;
}

Status cannot_write(const char* option, const std::string& path, const std::string& why,
                    const char* allowed) {
  return invalid_argument(
      fmt::format("{}: {} {}, allowed: {}. Name another.", option, path, why, allowed));
}

constexpr const char* kAllowedFile = "a file in a folder that exists and is writable";

volatile std::sig_atomic_t waiting_signal = 0;
extern "C" void let_signal_wait(int signal_number) { waiting_signal = signal_number; }

// While one lives, the signals that end a program wait, so that nothing unfinished stays behind.
class SignalsWait {
 public:
  SignalsWait() {
    struct sigaction action = {};
    action.sa_handler = let_signal_wait;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], &action, &before_[i]);
    }
  }
  ~SignalsWait() {
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], &before_[i], nullptr);
    }
    if (waiting_signal != 0) {
      raise(std::exchange(waiting_signal, 0));
    }
  }
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, kSignals.size()> before_ = {};
};

// The file that a link leads to: renaming onto the link itself would put a file in its place.
fs::path target_of(const std::string& path) {
  std::error_code error;
  const fs::path target = fs::canonical(path, error);
  return error ? fs::path(path) : target;
}

// An unfinished file beside the target, gone with its owner unless it was put in place.
class Unfinished {
 public:
  explicit Unfinished(const fs::path& target) {
    std::random_device random;
    const std::string name = fmt::format(".ladder.{:08x}{:08x}.part", random(), random());
    path_ = (target.parent_path() / name).string();
    fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  }
  ~Unfinished() {
    if (fd_ >= 0) {
      close(fd_);
      unlink(path_.c_str());  // fails, as it should, after the renaming
    }
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  bool created() const { return fd_ >= 0; }

  bool write(const std::string& text) const {
    size_t done = 0;
    while (done < text.size()) {
      const ssize_t count = ::write(fd_, text.data() + done, text.size() - done);
      if (count < 0 && errno != EINTR) {
        return false;
      }
      done += count > 0 ? static_cast<size_t>(count) : 0;
    }
    return fsync(fd_) == 0;
  }

  bool put_in_place(const fs::path& target) const {
    return rename(path_.c_str(), target.c_str()) == 0;
  }

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace

int run_program(const char* name, const std::function<int()>& body) {
  // A reader that goes away (`seesaw ladder | head`) is an error of write, not a death.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return body();
  } catch (const std::bad_alloc&) {
    fmt::print(stderr,
               "{}: out of memory, allowed: what this machine has free. Use fewer or shorter "
               "sequences, or fewer heads.\n",
               name);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}, allowed: no failure. This is a defect of the ladder.\n", name,
               one_line(error.what()));
  }
  return kFailed;
}

int refuse(const Status& status) {
  fmt::print(stderr, "{}\n", one_line(status.message()));
  return kBadInput;
}

std::optional<int> parse(CLI::App& app, const char* name, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return show(app.help()) ? 0 : kBadInput;
    }
    return refuse(invalid_argument(fmt::format(
        "{}: {}, allowed: the options of --help. Run `{} --help`.", name, error.what(), name)));
  }
  return std::nullopt;
}

bool show(const std::string& text) {
  errno = 0;
  const bool whole =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!whole && errno != EPIPE) {  // a reader that went away is not our failure
    refuse(invalid_argument(
        fmt::format("standard output: {}, allowed: one that takes what is printed. Free some space "
                    "or redirect it elsewhere.",
                    std::strerror(errno))));
    return false;
  }
  return true;
}

Status check_output(const char* option, const std::string& path) {
  if (path == "-") {
    return {};
  }
  if (path.empty()) {
    return invalid_argument(
        fmt::format("{}: an empty path, allowed: {}. Name one.", option, kAllowedFile));
  }
  struct stat info = {};
  if (stat(path.c_str(), &info) == 0) {
    // Nobody means to replace a device or a folder by renaming.
    if (!S_ISREG(info.st_mode)) {
      return cannot_write(option, path, "is no regular file", "a file, or none yet");
    }
    if (access(path.c_str(), W_OK) != 0) {
      return cannot_write(option, path, "cannot be written", "a file that is writable");
    }
  } else if (errno != ENOENT) {
    return cannot_write(option, path, std::string("cannot be written: ") + std::strerror(errno),
                        kAllowedFile);
  }
  const SignalsWait signals_wait;
  if (!Unfinished(target_of(path)).created()) {
    return cannot_write(option, path, std::string("cannot be written: ") + std::strerror(errno),
                        kAllowedFile);
  }
  return {};
}

bool write_file(const char* option, const std::string& path, const std::string& text) {
  if (path == "-") {
    return show(text);
  }
  const SignalsWait signals_wait;
  const fs::path target = target_of(path);
  const Unfinished file(target);
  if (!file.created() || !file.write(text) || !file.put_in_place(target)) {
    refuse(cannot_write(option, path, std::string("cannot be written: ") + std::strerror(errno),
                        "a file in a writable folder on a disk with room"));
    return false;
  }
  return true;
}

}  // namespace seesaw::ladder
