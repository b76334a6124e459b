#include "profile/ncu_program.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "error.hpp"
#include "subprocess.hpp"

namespace seesaw::tools {
namespace {

// A file name of our own, gone when this is.
class TemporaryFile {
 public:
  TemporaryFile() : path_((std::filesystem::temp_directory_path() / "seesaw-ncu-XXXXXX").string()) {
    const int fd = mkstemp(path_.data());
    if (fd < 0) {
      throw bad_input(
          {path_, "it cannot be made", "needed: a writable temporary folder", "Set TMPDIR."});
    }
    close(fd);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  std::string path_;
};

}  // namespace

NcuResult read_counters(const std::string& ncu, const std::vector<std::string>& program) {
  const std::string found = ncu.empty() ? find_program("ncu", {"/usr/local/cuda/bin/ncu"}) : ncu;
  NcuResult result;
  if (found.empty()) {
    result.why_not = "no program ncu in PATH; --ncu names it";
    return result;
  }
  const TemporaryFile log;
  const ProgramResult run = run_program(ncu_arguments(found, log.path(), program));
  result.csv = log.text();
  if (run.exit_code != 0 || result.csv.find("\"ID\"") == std::string::npos) {
    result.why_not = found + ": " + why_ncu_refused(result.csv + run.said);
    return result;
  }
  result.launches = parse_ncu_csv(result.csv);
  return result;
}

std::string own_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

}  // namespace seesaw::tools
