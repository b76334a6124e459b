#include "engine/problem_of.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/tensor_args.hpp"

namespace seesaw::engine {
namespace {

// One place that tells a field of the problem.
struct Source {
  enum class What : uint8_t { kDType, kStride, kExtent };
  const Arg* arg;
  What what;
  int32_t dimension;
};
struct Told {
  const Field* field;
  std::vector<Source> sources;  // the first that is given tells
};

std::vector<Source> sources_of(const Field& field, const Operation& operation) {
  std::vector<Source> sources;
  const std::string_view from = field.from;
  for (const Arg& arg : operation.args) {
    const std::string prefix = std::string(arg.name) + ".";
    if (from == prefix + "dtype") {
      sources.push_back({&arg, Source::What::kDType, 0});
    } else if (from.starts_with(prefix + "stride.")) {
      sources.push_back({&arg, Source::What::kStride, from.back() - '0'});
    } else {
      const auto names = names_in(arg.shape);
      const auto at = std::find(names.begin(), names.end(), from.empty() ? field.name : from);
      if (at != names.end()) {
        const auto dimension = static_cast<int32_t>(at - names.begin());
        sources.push_back({&arg, Source::What::kExtent, dimension});
      }
    }
  }
  return sources;
}

// What tensors tell of an operation's problem: worked out once, as every call without a plan asks.
const std::vector<Told>& told_of(const Operation& operation) {
  using Entry = std::pair<const Operation*, std::vector<Told>>;
  static const std::vector<Entry> all = [] {
    std::vector<Entry> entries;
    for (const Operation* known : operations()) {
      std::vector<Told>& told = entries.emplace_back(known, std::vector<Told>()).second;
      for (const Field& field : known->problem) {
        if (is_number(field) && std::string_view(field.from) != "-") {
          told.push_back({&field, sources_of(field, *known)});
        }
      }
    }
    return entries;
  }();
  return std::find_if(all.begin(), all.end(),
                      [&](const Entry& entry) { return entry.first == &operation; })
      ->second;
}

// What a tensor tells; 0: nothing.
int64_t told_by(const Source& source, const Tensor& tensor) {
  if (source.what == Source::What::kDType) {
    return tensor.dtype;
  }
  if (source.dimension >= tensor.rank) {
    return 0;
  }
  return source.what == Source::What::kStride ? tensor.stride[source.dimension]
                                              : tensor.shape[source.dimension];
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
    for (const Source& source : told.sources) {
      const Tensor* tensor = first_tensor(*source.arg, args);
      if (tensor == nullptr || (tensor->data == nullptr && tensor->rank == 0)) {
        continue;  // not given
      }
      if (const int64_t value = told_by(source, *tensor); value != 0) {
        set_number(*told.field, value, problem);
        break;
      }
    }
  }
  return {};
}

}  // namespace seesaw::engine
