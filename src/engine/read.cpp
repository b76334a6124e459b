#include "engine/read.hpp"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/message.hpp"
#include "boundary/sized.hpp"

namespace seesaw::engine {
namespace {

#define AT(field) offsetof(seesaw_options, field)
constexpr Field kOptions[] = {
    {.name = "device",
     .type = FieldType::kDevice,
     .offset = AT(device),
     .flag = "--device",
     .help = "where the tensors are: cpu, cuda or cuda:N"},
    {.name = "num_threads",
     .type = FieldType::kInt32,
     .offset = AT(num_threads),
     .most = 4096,
     .flag = "--threads",
     .help = "CPU workers; 0 = as many as OpenMP would use"},
    {.name = "batch_invariant",
     .type = FieldType::kChoice,
     .offset = AT(batch_invariant),
     .choices = kNoOrYes,
     .flag = "--batch-invariant",
     .help = "a sequence's result depends neither on the others nor on the number of workers"},
    {.name = "check_data",
     .type = FieldType::kChoice,
     .offset = AT(check_data),
     .choices = kNoOrYes,
     .flag = "--check-data",
     .help = "also check lengths and ids on the device, as SEESAW_CHECK=1 does"},
    {.name = "kernel",
     .type = FieldType::kText,
     .offset = AT(kernel),
     .flag = "--kernel",
     .help = "insist on a kernel by name"},
    {.name = "tuning",
     .type = FieldType::kText,
     .offset = AT(tuning),
     .flag = "--tuning",
     .help = "a file of `seesaw tune`, or none; default: what SEESAW_TUNE_FILE names"},
};
#undef AT

Status bad(const char* where, std::string_view arrived, std::string_view allowed,
           std::string_view remedy) {
  return invalid_argument(four_part_message(where, arrived, allowed, remedy));
}

std::string names_of(std::span<const Choice> choices) {
  std::string names;
  for (const Choice& choice : choices) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", choice.name);
  }
  return names;
}

Status check_choice(const char* where, const Field& field, int64_t value) {
  const bool known = std::any_of(field.choices.begin(), field.choices.end(),
                                 [&](const Choice& choice) { return choice.value == value; });
  // A dtype or format that follows another field is still 0: complete() fills it in.
  if (known || (value == 0 && field.type != FieldType::kChoice)) {
    return {};
  }
  if (field.type == FieldType::kChoice) {
    return bad(where, fmt::format("{} = {}", field.name, value),
               fmt::format("the numbers of {}", names_of(field.choices)), "Set one of these.");
  }
  const std::string name = is_dtype(static_cast<int32_t>(value))
                               ? fmt::format("{} ({})", value, name_of(static_cast<DType>(value)))
                               : fmt::format("{}", value);
  return invalid_type(four_part_message(where, fmt::format("{} = {}", field.name, name),
                                        names_of(field.choices),
                                        "Convert the tensor to one of these."));
}

Status check_field(const char* where, const Field& field, int64_t value) {
  if (has_choices(field)) {
    return check_choice(where, field, value);
  }
  if (value < field.least || value > field.most) {
    return bad(where, fmt::format("{} = {}", field.name, value),
               fmt::format("{} to {}", field.least, field.most),
               fmt::format("Check the shape that {} comes from.", field.name));
  }
  return {};
}

// Reserved bytes, defaults, ranges.
Status settle_fields(const char* where, std::span<const Field> fields, size_t bytes, void* data) {
  std::vector<ReservedBytes::Range> covered;
  for (const Field& field : fields) {
    covered.push_back(covered_by(field));
  }
  SEESAW_RETURN_IF_ERROR(ReservedBytes(std::move(covered), bytes).check(where, data));
  for (const Field& field : fields) {
    if (!is_number(field)) {
      continue;
    }
    if (get_number(field, data) == 0 && field.fallback != 0) {
      set_number(field, field.fallback, data);
    }
    SEESAW_RETURN_IF_ERROR(check_field(where, field, get_number(field, data)));
  }
  return {};
}

bool environment_asks_for_checks() {
  const char* value = std::getenv("SEESAW_CHECK");
  return value != nullptr && std::strcmp(value, "") != 0 && std::strcmp(value, "0") != 0;
}

// The tuning that the caller names, else the environment.
std::string tuning_of(const char* given) {
  const char* wanted = given != nullptr ? given : std::getenv("SEESAW_TUNE_FILE");
  return wanted == nullptr || std::strcmp(wanted, "none") == 0 ? "" : wanted;
}

}  // namespace

ReservedBytes::ReservedBytes(std::vector<Range> covered, size_t struct_bytes) {
  std::sort(covered.begin(), covered.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  size_t end = sizeof(uint64_t);  // struct_size
  for (const Range& range : covered) {
    if (range.begin > end) {
      reserved_.push_back({end, range.begin});
    }
    end = range.end;
  }
  if (end < struct_bytes) {
    reserved_.push_back({end, struct_bytes});
  }
}

Status ReservedBytes::check(const char* where, const void* data) const {
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (const Range& range : reserved_) {
    for (size_t i = range.begin; i < range.end; ++i) {
      if (bytes[i] != 0) {
        return bad(where, fmt::format("byte {} = {}, which is reserved", i, bytes[i]), "0",
                   "Zero the struct first.");
      }
    }
  }
  return {};
}

ReservedBytes::Range covered_by(const Field& field) {
  return {field.offset, field.offset + size_of(field.type)};
}

Status find_operation(const char* name, const Operation** operation) {
  std::string names;
  for (const Operation* known : operations()) {
    if (name != nullptr && std::string_view(name) == known->name) {
      *operation = known;
      return {};
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known->name);
  }
  return bad("seesaw", fmt::format("operation = {}", name == nullptr ? "NULL" : name), names,
             "Name one of these, or use a newer library.");
}

Status read_problem(const Operation& operation, const void* from, ProblemBytes* to) {
  SEESAW_RETURN_IF_ERROR(
      read_sized(operation.name, "problem", from, operation.problem_bytes, to->data));
  SEESAW_RETURN_IF_ERROR(
      settle_fields(operation.name, operation.problem, operation.problem_bytes, to->data));
  return operation.complete(to->data);
}

Status read_options(const char* where, const seesaw_options* from, Options* to) {
  seesaw_options given;
  if (from != nullptr) {
    SEESAW_RETURN_IF_ERROR(read_sized(where, "options", from, &given));
  }
  SEESAW_RETURN_IF_ERROR(settle_fields(where, kOptions, sizeof(given), &given));
  Device device = given.device;
  device.type = device.type == 0 ? int32_t{SEESAW_CPU} : device.type;
  const bool known = device.type == SEESAW_CPU || device.type == SEESAW_CUDA;
  if (!known || device.index < 0 || (on_cpu(device) && device.index != 0)) {
    return bad(where, fmt::format("device type {}, index {}", device.type, device.index),
               "{SEESAW_CPU, 0} or {SEESAW_CUDA, ordinal}", "Set the device of the memory.");
  }
  to->device = device;
  to->follow_threads = given.num_threads == 0;
  to->num_threads = to->follow_threads ? omp_get_max_threads() : given.num_threads;
  to->batch_invariant = given.batch_invariant != 0;
  to->check_data = given.check_data != 0 || environment_asks_for_checks();
  to->kernel = given.kernel == nullptr ? "" : given.kernel;
  to->tuning = tuning_of(given.tuning);
  return {};
}

std::span<const Field> option_fields() { return kOptions; }

}  // namespace seesaw::engine
