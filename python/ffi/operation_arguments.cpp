#include "operation_arguments.hpp"

#include <utility>

#include "seesaw/seesaw.hpp"

namespace seesaw::python {
namespace {

// A tensor of the rank that the table has for it. A cache may lack the dimension of its KV heads,
// which is 1 in MLA, or have it where the table does not.
seesaw_tensor read_tensor(ArgumentReader& reader, const Operation& operation, const Arg& arg) {
  seesaw_tensor tensor = reader.tensor(arg.name.c_str(), arg.elements);
  if (arg.format != nullptr && tensor.shape[0] == 1) {
    tensor.stride[0] = 0;  // of one page says nothing: DLPack's producers give what they like
  }
  if (tensor.rank == arg.rank || tensor.rank == arg.other_rank) {
    return tensor;
  }
  if (arg.no_heads >= 0 && tensor.rank == arg.rank + 1 && tensor.shape[arg.no_heads] == 1) {
    for (int32_t i = arg.no_heads; i < arg.rank; ++i) {
      tensor.shape[i] = tensor.shape[i + 1];
      tensor.stride[i] = tensor.stride[i + 1];
    }
    --tensor.rank;
    return tensor;
  }
  if (arg.heads >= 0 && tensor.rank == arg.rank - 1) {
    for (int32_t i = tensor.rank; i > arg.heads; --i) {
      tensor.shape[i] = tensor.shape[i - 1];
      tensor.stride[i] = tensor.stride[i - 1];
    }
    tensor.shape[arg.heads] = 1;
    tensor.stride[arg.heads] = tensor.shape[arg.heads + 1];
    ++tensor.rank;
    return tensor;
  }
  throw Error(SEESAW_INVALID_ARGUMENT, operation.name + ": " + arg.name + " has rank " +
                                           std::to_string(tensor.rank) + ", allowed: " + arg.shape +
                                           ". Reshape the array.");
}

void put(const Arg& arg, const seesaw_tensor& tensor, Arguments* to) {
  if (!to->have_device) {
    to->device = tensor.device;
    to->have_device = true;
  }
  std::memcpy(to->data + arg.offset, &tensor, sizeof(tensor));
}

}  // namespace

const Operation& read_operation(ArgumentReader& reader) {
  const auto& operations = tables().operations;
  const auto index = static_cast<size_t>(reader.integer("operation"));
  if (index >= operations.size()) {
    throw Error(SEESAW_INVALID_ARGUMENT,
                "seesaw_ffi: operation = " + std::to_string(index) + ", allowed: less than " +
                    std::to_string(operations.size()) + ". Install the package anew.");
  }
  reader.set_where(operations[index].name.c_str());
  return operations[index];
}

void read_tensors(ArgumentReader& reader, const Operation& operation, Take take, Arguments* to) {
  for (const Arg& arg : operation.args) {
    if (take == Take::kPrepares && !arg.prepares) {
      continue;
    }
    if (arg.count != nullptr) {
      std::vector<seesaw_tensor> list(static_cast<size_t>(reader.integer(arg.name.c_str())));
      for (seesaw_tensor& tensor : list) {
        tensor = read_tensor(reader, operation, arg);
      }
      if (!list.empty() && !to->have_device) {
        to->device = list.front().device;
        to->have_device = true;
      }
      const seesaw_tensor* first = list.data();
      std::memcpy(to->data + arg.offset, &first, sizeof(first));
      to->lists.push_back(std::move(list));
      continue;
    }
    if (arg.optional && reader.at_end()) {
      continue;
    }
    if ((arg.optional || take == Take::kSome) && reader.next_is_none()) {
      reader.skip();
      continue;
    }
    put(arg, read_tensor(reader, operation, arg), to);
  }
}

void read_tensors_of_xla(ArgumentReader& reader, const Operation& operation,
                         const TensorsOfXla& there, Arguments* to) {
  const auto read = [&](bool written) {
    for (size_t i = 0; i < operation.args.size(); ++i) {
      const Arg& arg = operation.args[i];
      if (arg.written == written && (there.given >> i & 1) != 0) {
        put(arg, read_tensor(reader, operation, arg), to);
      }
    }
  };
  read(false);
  for (size_t i = 0; i < operation.scalars.size(); ++i) {
    if ((there.traced >> i & 1) != 0) {
      const Field& field = operation.scalars[i];
      const seesaw_tensor number = reader.tensor(field.name.c_str());
      to->traced.emplace_back(field.offset, *static_cast<const float*>(number.data));
    }
  }
  for (int64_t i = 0; i < there.aliased; ++i) {
    reader.skip();
  }
  read(true);
}

void read_scalars(ArgumentReader& reader, const Operation& operation, Arguments* to) {
  for (const Field& field : operation.scalars) {
    if (reader.at_end()) {
      break;
    }
    if (field.kind == Kind::kFloat32) {
      const auto value = static_cast<float>(reader.number(field.name.c_str()));
      std::memcpy(to->data + field.offset, &value, sizeof(value));
    } else if (field.kind == Kind::kInt64) {
      const int64_t value = reader.integer(field.name.c_str());
      std::memcpy(to->data + field.offset, &value, sizeof(value));
    } else {
      const auto value = static_cast<int32_t>(reader.integer(field.name.c_str()));
      std::memcpy(to->data + field.offset, &value, sizeof(value));
    }
  }
  for (const auto& [offset, value] : to->traced) {
    std::memcpy(to->data + offset, &value, sizeof(value));
  }
}

void read_options(ArgumentReader& reader, OwnedOptions* to) {
  auto* bytes = reinterpret_cast<std::byte*>(&to->options);
  size_t texts = 0;
  for (const Field& field : tables().options) {
    const char* name = field.name.c_str();
    if (field.kind == Kind::kText) {
      std::string& text = to->texts.at(texts++);
      text = reader.optional_text(name);
      const char* pointer = text.empty() ? nullptr : text.c_str();
      std::memcpy(bytes + field.offset, &pointer, sizeof(pointer));
    } else if (field.kind == Kind::kInt32) {
      const auto value = static_cast<int32_t>(reader.integer(name));
      std::memcpy(bytes + field.offset, &value, sizeof(value));
    }
  }
}

void read_problem(ArgumentReader& reader, Request* to) {
  for (const Field& field : to->operation->problem) {
    to->set(field, reader.integer(field.name.c_str()));
  }
}

}  // namespace seesaw::python
