// An operation's arguments, options and problem, read from Python in the order of its tables. A
// tensor that is not given is None, or left out at the end; a list of tensors is its length, then
// its tensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "plans.hpp"
#include "tables.hpp"

namespace seesaw::python {

inline constexpr size_t kMostArgsBytes = 4096;

// An operation's arguments struct, read from Python.
struct Arguments {
  alignas(8) std::byte data[kMostArgsBytes];
  std::vector<std::vector<seesaw_tensor>> lists;  // what its list arguments point to
  std::vector<std::pair<size_t, float>> traced;   // numbers that came as tensors, by their offset
  seesaw_device device{SEESAW_CPU, 0};            // of the first tensor
  bool have_device = false;

  explicit Arguments(const Operation& operation) {
    std::memset(data, 0, operation.args_bytes);
    const uint64_t size = operation.args_bytes;
    std::memcpy(data, &size, sizeof(size));
  }
};

// Names the operation in the messages that follow.
const Operation& read_operation(ArgumentReader& reader);

// Which tensors a function takes, in the order of the operation's table: all of them, as many as
// there are yet (the others None), or those that prepare reads.
enum class Take : uint8_t { kAll, kSome, kPrepares };

void read_tensors(ArgumentReader& reader, const Operation& operation, Take take, Arguments* to);

// Which tensors XLA brings.
struct TensorsOfXla {
  uint64_t given = 0;   // a bit for each row of the table
  uint64_t traced = 0;  // a bit for each number of a call that comes as a tensor [1] on the CPU
  int64_t aliased = 0;  // so many written ones are there twice, among the inputs, too, which is how
                        // XLA says "in place"
};

// Those that are read, then the numbers, then those that are written, in the order of the tables.
void read_tensors_of_xla(ArgumentReader& reader, const Operation& operation,
                         const TensorsOfXla& there, Arguments* to);

// Those that are left out at the end of a call are 0. What came as a tensor stays.
void read_scalars(ArgumentReader& reader, const Operation& operation, Arguments* to);

// Options as Python passes them, and what owns their texts.
struct OwnedOptions {
  seesaw_options options{};
  std::array<std::string, 8> texts;
};

// Every field of the options but the device.
void read_options(ArgumentReader& reader, OwnedOptions* to);

void read_problem(ArgumentReader& reader, Request* to);

}  // namespace seesaw::python
