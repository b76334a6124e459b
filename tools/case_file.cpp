#include "case.hpp"
#include "machine.hpp"

namespace seesaw::tools {

// Half of what is free: the other half is for outputs, workspace and the pages of the map.
CaseFile::CaseFile(const std::string& path)
    : file(path),
      contents(read_case(file.header(), file.tensor_bytes(), available_memory_bytes() / 2, path)) {}

}  // namespace seesaw::tools
