#include "subprocess.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>

#include "error.hpp"

namespace seesaw::tools {

ProgramResult run_program(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  std::array<int, 2> ends{};
  const Failure cannot(ExitCode::kInternal, "seesaw: cannot start " + arguments.at(0) +
                                                ", it must be a program. Check its path.");
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw cannot;
  }
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
  ProgramResult result;
  std::array<char, 4096> chunk{};
  for (ssize_t size = 0; child > 0 && (size = read(ends[0], chunk.data(), chunk.size())) > 0;) {
    result.said.append(chunk.data(), static_cast<size_t>(size));
  }
  close(ends[0]);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    throw cannot;
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string find_program(const std::string& name, const std::vector<std::string>& beside) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + name;
    if (folder.starts_with('/') && access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  for (const std::string& candidate : beside) {
    if (access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return "";
}

}  // namespace seesaw::tools
