// From the C ABI's sized structs to what the engine and the operations work on, by the tables.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "core/operation.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::engine {

// A problem of any operation, complete and checked.
struct ProblemBytes {
  alignas(8) std::byte data[kMaxProblemBytes];
};

// The operation of this name.
Status find_operation(const char* name, const Operation** operation);

// Reads a caller's struct of any version, fills in defaults, checks each field against its range
// and the fields against each other.
Status read_problem(const Operation& operation, const void* from, ProblemBytes* to);

// The same for options; null means all defaults. `where` begins messages.
Status read_options(const char* where, const seesaw_options* from, Options* to);

// Bytes of a struct of the C ABI that no entry of its table covers: reserved, they must be zero.
class ReservedBytes {
 public:
  struct Range {
    size_t begin;
    size_t end;
  };
  // What the entries cover, in order of `begin`; struct_size is added.
  ReservedBytes(std::vector<Range> covered, size_t struct_bytes);
  Status check(const char* where, const void* data) const;

 private:
  std::vector<Range> reserved_;
};
ReservedBytes::Range covered_by(const Field& field);

// The fields of seesaw_options.
std::span<const Field> option_fields();

}  // namespace seesaw::engine
