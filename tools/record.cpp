#include "record.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>

#include "fields.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

// Calls see(number) for each; rows of a newer library may be longer.
template <typename See>
void for_each_number(const seesaw_plan_details& plan, See see) {
  const auto* row = reinterpret_cast<const char*>(plan.numbers);
  for (uint64_t i = 0; i < plan.num_numbers; ++i, row += plan.number_bytes) {
    see(*reinterpret_cast<const seesaw_number*>(row));
  }
}

std::string record_name(const std::string& field) {
  return field == "batch" ? "b" : field == "q_dtype" ? "dtype" : field;
}

}  // namespace

nlohmann::ordered_json record_of(const seesaw_dense_decode_problem& problem) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const Field& field : dense_decode().problem) {
    const bool usual = field.type == Field::Type::kChoice && !field.is_yes_or_no() &&
                       get_number(field, &problem) == field.fallback;
    if (!field.flag.empty() && !usual) {
      json[record_name(field.name)] = field_json(field, &problem);
    }
  }
  return json;
}

nlohmann::ordered_json numbers_json(const seesaw_plan_details& plan) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for_each_number(plan, [&](const seesaw_number& number) { json[number.name] = number.value; });
  return json;
}

nlohmann::ordered_json details_json(const seesaw_plan_details& plan) {
  nlohmann::ordered_json json = {{"kernel", plan.kernel}};
  json.update(numbers_json(plan));
  json["tuned"] = plan.tuned != 0;
  json["tuning"] = plan.tuning;
  json["tuning_key"] = nlohmann::ordered_json::parse(plan.tuning_key);
  json["workspace_bytes"] = plan.workspace_bytes;
  json["schedule_bytes"] = plan.schedule_bytes;
  return json;
}

std::string numbers_text(const seesaw_plan_details& plan) {
  std::string text;
  for_each_number(plan, [&](const seesaw_number& number) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", number.name, number.value);
  });
  return text;
}

std::string numbers_table(const seesaw_plan_details& plan) {
  Table table({"plan", "value", "what it is"});
  for_each_number(plan, [&](const seesaw_number& number) {
    table.add({number.name, std::to_string(number.value), number.help});
  });
  return table.text();
}

}  // namespace seesaw::tools
