#include "describe.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "seesaw/seesaw.hpp"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;

Field::Type type_of(const std::string& name) {
  constexpr std::pair<const char*, Field::Type> kTypes[] = {
      {"int64", Field::Type::kInt64},   {"float32", Field::Type::kFloat32},
      {"dtype", Field::Type::kDType},   {"format", Field::Type::kDType},
      {"choice", Field::Type::kChoice}, {"text", Field::Type::kText},
      {"device", Field::Type::kDevice}};
  for (const auto& [known, type] : kTypes) {
    if (name == known) {
      return type;
    }
  }
  return Field::Type::kInt32;
}

std::vector<Field> fields_of(const Json& rows) {
  std::vector<Field> fields;
  for (const Json& row : rows) {
    Field field;
    field.name = row.at("name");
    field.type = type_of(row.at("type"));
    field.offset = row.at("offset");
    field.least = row.value("least", int64_t{0});
    field.most = row.value("most", int64_t{0});
    field.fallback = row.at("default");
    if (row.contains("choices")) {
      for (const auto& [name, value] : row["choices"].items()) {
        field.choices.emplace_back(name, value);
      }
    }
    field.from = row.at("from");
    field.flag = row.at("flag");
    field.help = row.at("help");
    fields.push_back(std::move(field));
  }
  return fields;
}

// "[b, s_q]" as its names.
std::vector<std::string> names_in(std::string shape) {
  std::erase_if(shape, [](char c) { return c == '[' || c == ']' || c == ' '; });
  std::vector<std::string> names;
  std::istringstream list(shape);
  for (std::string name; std::getline(list, name, ',');) {
    names.push_back(name);
  }
  return names;
}

Operation operation_of(const Json& row) {
  Operation operation{row.at("name"),
                      row.at("help"),
                      fields_of(row.at("problem")),
                      {},
                      fields_of(row.at("scalars")),
                      {}};
  for (const Json& arg : row.at("args")) {
    const Json& other = arg.at("other");
    operation.arguments.push_back({arg.at("name"), arg.at("offset"), names_in(arg.at("shape")),
                                   arg.at("dtype"), arg.at("use") == "in", arg.at("optional"),
                                   other.at("field"), names_in(other.at("shape"))});
  }
  for (const Json& kernel : row.at("kernels")) {
    operation.kernels.push_back({kernel.at("name"), kernel.at("device"), {}});
    for (const Json& knob : kernel.at("knobs")) {
      operation.kernels.back().knobs.push_back(
          {knob.at("name"), knob.at("least"), knob.at("most"), knob.at("step")});
    }
  }
  return operation;
}

Description read_description() {
  const Json json = Json::parse(describe());
  Description result;
  result.options = fields_of(json.at("options"));
  for (const Json& row : json.at("operations")) {
    result.operations.push_back(operation_of(row));
  }
  for (const Json& row : json.at("formats")) {
    result.formats.push_back(
        {row.at("name"), row.at("help"), row.at("id"), row.at("d_latent"), row.at("d_rope"),
         row.at("row_bytes").get<int64_t>() + row.at("tail_bytes").get<int64_t>(),
         row.at("tail_bytes"), row.at("tensor_scale"), row.dump()});
  }
  return result;
}

}  // namespace

bool Field::is_yes_or_no() const {
  return type == Type::kChoice && choices.size() == 2 && choices[0].first == "no" &&
         choices[1].first == "yes";
}

const Kernel* Operation::kernel(const std::string& wanted) const {
  const auto found = std::find_if(kernels.begin(), kernels.end(),
                                  [&](const Kernel& k) { return k.name == wanted; });
  return found == kernels.end() ? nullptr : &*found;
}

bool Operation::told_by_inputs(const Field& field) const {
  if (field.is_of_argument()) {
    return true;
  }
  const std::string dimension = field.from.empty() ? field.name : field.from;
  return std::any_of(arguments.begin(), arguments.end(), [&](const Argument& argument) {
    return argument.is_input && (field.from.starts_with(argument.name + ".") ||
                                 std::find(argument.shape.begin(), argument.shape.end(),
                                           dimension) != argument.shape.end());
  });
}

const Description& description() {
  static const Description read = read_description();
  return read;
}

const Operation& dense_decode() { return description().operations.front(); }

const Operation& operation(const std::string& name) {
  const std::vector<Operation>& all = description().operations;
  return *std::find_if(all.begin(), all.end(),
                       [&](const Operation& of) { return of.name == name; });
}

}  // namespace seesaw::tools
