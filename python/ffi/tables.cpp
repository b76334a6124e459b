#include "tables.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "seesaw/seesaw.hpp"

namespace seesaw::python {
namespace {

using Json = nlohmann::json;

Kind kind_of(const std::string& type) {
  if (type == "int64") {
    return Kind::kInt64;
  }
  if (type == "float32") {
    return Kind::kFloat32;
  }
  if (type == "text") {
    return Kind::kText;
  }
  return type == "device" ? Kind::kDevice : Kind::kInt32;  // int32, dtype, format, choice
}

Field field_of(const Json& json) {
  const std::string from = json.at("from");
  const bool is_symbol = !from.empty() && from != "-" && from.find('.') == std::string::npos;
  return {json.at("name"), kind_of(json.at("type")), json.at("offset"), is_symbol};
}

std::vector<Field> fields_of(const Json& rows) {
  std::vector<Field> fields;
  for (const Json& row : rows) {
    fields.push_back(field_of(row));
  }
  return fields;
}

// What an argument's elements may be: of the dtype that its table names, or of those among which a
// field chooses.
Elements elements_of(const std::string& dtype, const Json& problem) {
  if (dtype == "int32") {
    return Elements::kInt32;
  }
  if (dtype == "int64") {
    return Elements::kInt64;
  }
  if (dtype == "uint8") {
    return Elements::kBytes;
  }
  const auto field =
      std::ranges::find_if(problem, [&](const Json& row) { return row.at("name") == dtype; });
  if (field == problem.end()) {
    return Elements::kFloat;
  }
  if (field->at("type") == "format") {
    return Elements::kFloat | Elements::kBytes;
  }
  auto elements = Elements{};
  for (const auto& choice : field->at("choices").items()) {
    elements = elements | (choice.key() == "int32"   ? Elements::kInt32
                           : choice.key() == "int64" ? Elements::kInt64
                           : choice.key() == "uint8" ? Elements::kBytes
                                                     : Elements::kFloat);
  }
  return elements;
}

Arg arg_of(const Json& json, const Json& rows, const std::vector<Field>& problem) {
  Arg arg;
  arg.name = json.at("name");
  arg.shape = json.at("shape");
  arg.offset = json.at("offset");
  arg.prepares = json.at("prepares");
  arg.optional = json.at("optional");
  arg.written = json.at("use") != "in";
  const std::string dtype = json.at("dtype");
  arg.elements = elements_of(dtype, rows);
  const auto row =
      std::ranges::find_if(rows, [&](const Json& it) { return it.at("name") == dtype; });
  if (row != rows.end() && row->at("type") == "format") {
    arg.format = &*std::ranges::find(problem, dtype, &Field::name);
  }
  const std::string names = arg.shape.substr(1, arg.shape.size() - 2);  // "b, s_q"
  for (size_t begin = 0; begin < names.size();) {
    const size_t end = std::min(names.find(", ", begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    if (name == "h_kv") {
      arg.heads = arg.rank;
    }
    ++arg.rank;
    if (name == "page_size") {
      arg.no_heads = arg.rank;  // behind it
    }
    begin = end + 2;
  }
  arg.no_heads = arg.heads >= 0 ? -1 : arg.no_heads;
  const std::string other = json.at("other").at("shape");
  arg.other_rank =
      other.empty() ? arg.rank : 1 + static_cast<int32_t>(std::ranges::count(other, ','));
  if (!other.empty()) {
    arg.shape += " or " + other;
  }
  const std::string list = json.at("list");
  const auto count = std::ranges::find(problem, list, &Field::name);
  arg.count = count == problem.end() ? nullptr : &*count;
  return arg;
}

Tables read() {
  const Json json = Json::parse(describe());
  Tables tables;
  tables.options = fields_of(json.at("options"));
  for (const Json& row : json.at("operations")) {
    Operation& operation = tables.operations.emplace_back();
    operation.name = row.at("name");
    operation.problem_bytes = row.at("problem_bytes");
    operation.args_bytes = row.at("args_bytes");
    operation.problem = fields_of(row.at("problem"));
    operation.scalars = fields_of(row.at("scalars"));
    for (const Json& arg : row.at("args")) {
      operation.args.push_back(arg_of(arg, row.at("problem"), operation.problem));
    }
    for (const Json& kernel : row.at("kernels")) {
      operation.kernels.push_back(kernel.at("name"));
    }
  }
  return tables;
}

}  // namespace

const Tables& tables() {
  static const Tables tables = read();
  return tables;
}

}  // namespace seesaw::python
