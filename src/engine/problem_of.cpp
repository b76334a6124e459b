#include "engine/problem_of.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/checked.hpp"
#include "engine/tensor_args.hpp"

namespace seesaw::engine {
namespace {

// One place that tells a field of the problem.
struct Source {
  enum class What : uint8_t { kDType, kStride, kExtent, kGiven };
  const Arg* arg;
  What what;
  int32_t dimension = 0;
  const char* shape = nullptr;   // kExtent: the one that has the dimension
  const Field* lacks = nullptr;  // kExtent: by whose value the tensor's is smaller
};
struct Told {
  const Field* field;
  std::vector<Source> sources;  // the first that is given tells
  const Field* number;          // or this number of the call, by not being 0
};

// Where the field is a dimension of one of an argument's shapes.
void add_extent(const Field& field, const Arg& arg, const char* shape, const Operation& operation,
                std::vector<Source>* sources) {
  const std::string_view from = field.from;
  const auto names = names_in(shape);
  const auto at = std::find(names.begin(), names.end(), from.empty() ? field.name : from);
  if (at != names.end()) {
    sources->push_back(
        {&arg, Source::What::kExtent, static_cast<int32_t>(at - names.begin()), shape,
         at + 1 == names.end() ? find_field(operation.problem, arg.lacks) : nullptr});
  }
}

std::vector<Source> sources_of(const Field& field, const Operation& operation) {
  std::vector<Source> sources;
  const std::string_view from = field.from;
  for (const Arg& arg : operation.args) {
    const std::string prefix = std::string(arg.name) + ".";
    if (from == prefix + "dtype") {
      sources.push_back({&arg, Source::What::kDType});
    } else if (from.starts_with(prefix + "stride.")) {
      sources.push_back({&arg, Source::What::kStride, from.back() - '0'});
    } else if (from == prefix + "given") {
      sources.push_back({&arg, Source::What::kGiven});
    } else {
      add_extent(field, arg, arg.shape, operation, &sources);
      add_extent(field, arg, arg.other.shape, operation, &sources);
    }
  }
  return sources;
}

// What an argument's shape follows from comes first: being given, then the columns that it lacks.
std::vector<const Field*> in_order_of_telling(const Operation& operation) {
  std::vector<const Field*> order;
  for (const Field& field : operation.problem) {
    order.push_back(&field);
  }
  const auto is_told_by_being_given = [](const Field* field) {
    return std::string_view(field->from).ends_with(".given");
  };
  const auto is_lacked = [&](const Field* field) {
    return std::any_of(operation.args.begin(), operation.args.end(),
                       [&](const Arg& arg) { return std::string_view(arg.lacks) == field->name; });
  };
  std::stable_partition(std::stable_partition(order.begin(), order.end(), is_told_by_being_given),
                        order.end(), is_lacked);
  return order;
}

// What tensors tell of an operation's problem: worked out once, as every call without a plan asks.
const std::vector<Told>& told_of(const Operation& operation) {
  using Entry = std::pair<const Operation*, std::vector<Told>>;
  static const std::vector<Entry> all = [] {
    std::vector<Entry> entries;
    for (const Operation* known : operations()) {
      std::vector<Told>& told = entries.emplace_back(known, std::vector<Told>()).second;
      for (const Field* field : in_order_of_telling(*known)) {
        if (is_number(*field) && std::string_view(field->from) != "-") {
          told.push_back(
              {field, sources_of(*field, *known), number_given(field->from, known->scalars)});
        }
      }
    }
    return entries;
  }();
  return std::find_if(all.begin(), all.end(),
                      [&](const Entry& entry) { return entry.first == &operation; })
      ->second;
}

// What a tensor tells of the problem as far as it is known; 0: nothing.
int64_t told_by(const Source& source, const Tensor& tensor, const Operation& operation,
                const void* problem) {
  if (source.what == Source::What::kExtent &&
      source.shape != shape_of(*source.arg, operation, problem)) {
    return 0;
  }
  if (source.what == Source::What::kGiven) {
    return 1;
  }
  if (source.what == Source::What::kDType) {
    return tensor.dtype;
  }
  if (source.dimension >= tensor.rank) {
    return 0;
  }
  if (source.what == Source::What::kStride) {
    return tensor.stride[source.dimension];
  }
  const int64_t extent = tensor.shape[source.dimension];
  int64_t whole = extent;
  if (source.lacks != nullptr && !checked_add(extent, get_number(*source.lacks, problem), &whole)) {
    return extent;  // as far from what a plan takes
  }
  return whole;
}

const Tensor* first_tensor(const Arg& arg, const void* args) {
  return *arg.list != '\0' ? list_at(arg, args) : &tensor_at(arg, args);
}

}  // namespace

Status problem_of(const Operation& operation, const void* args, void* problem) {
  for (const Arg& arg : operation.args) {
    if (const Tensor* tensor = first_tensor(arg, args); tensor != nullptr) {
      SEESAW_RETURN_IF_ERROR(check_rank(operation.name, arg, *tensor));
    }
  }
  for (const Told& told : told_of(operation)) {
    if (get_number(*told.field, problem) != 0) {
      continue;
    }
    if (told.number != nullptr && is_given(*told.number, args)) {
      set_number(*told.field, 1, problem);
      continue;
    }
    for (const Source& source : told.sources) {
      const Tensor* tensor = first_tensor(*source.arg, args);
      if (tensor == nullptr || (tensor->data == nullptr && tensor->rank == 0)) {
        continue;  // not given
      }
      if (const int64_t value = told_by(source, *tensor, operation, problem); value != 0) {
        set_number(*told.field, value, problem);
        break;
      }
    }
  }
  return {};
}

}  // namespace seesaw::engine
