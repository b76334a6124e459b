#include "engine/tuning_file.hpp"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "base/message.hpp"

namespace seesaw::engine {
namespace {

using Json = nlohmann::json;  // sorts names
using OrderedJson = nlohmann::ordered_json;

constexpr int64_t kFormat = 1;  // of the file: "seesaw_tuning"
constexpr int kDeepest = 8;     // levels of objects and lists, of which it has five

// Parses `text`, but no deeper: what handles a value calls itself for each level, so that a file of
// brackets alone would end the process.
Json parse_shallow(std::string_view text, bool* too_deep) {
  *too_deep = false;
  const auto keep = [&](int depth, Json::parse_event_t, const Json&) {
    *too_deep = *too_deep || depth > kDeepest;
    return !*too_deep;
  };
  return Json::parse(text, keep, /*allow_exceptions=*/false);
}

template <typename AnyJson>
std::string dumped(const AnyJson& value) {
  return value.dump(-1, ' ', false, AnyJson::error_handler_t::replace);
}

// A value as it arrived, short enough for a message.
std::string shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 60) + "..." : text;
}

// A kernel of this build by name, with its operation.
struct FoundKernel {
  const Operation* operation = nullptr;
  const Kernel* kernel = nullptr;
};
FoundKernel find_kernel(std::string_view name) {
  for (const Operation* operation : operations()) {
    for (const Kernel& kernel : operation->kernels) {
      if (name == kernel.name) {
        return {operation, &kernel};
      }
    }
  }
  return {};
}

int64_t power_of_two_from(int64_t value) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(value, 1))));
}

// "batch_class" for a field that is matched by its class.
std::string key_name(const Field& field) {
  return field.match == Match::kClass ? std::string(field.name) + "_class" : field.name;
}

// Reads one file; every refusal names the file and the entry.
class Reader {
 public:
  explicit Reader(std::string_view where) : where_(where) {}

  Status read(std::string_view text, TuningTable* table) {
    bool too_deep = false;
    const Json json = parse_shallow(text, &too_deep);
    if (too_deep) {
      return bad(fmt::format("lists or objects more than {} deep", kDeepest),
                 "a file that `seesaw tune` wrote");
    }
    if (!json.is_object()) {
      return bad("text that is no JSON object", "a file that `seesaw tune` wrote");
    }
    SEESAW_RETURN_IF_ERROR(only(json, {"seesaw_tuning", "seesaw_version", "entries"}));
    if (!json.contains("seesaw_tuning") || json["seesaw_tuning"] != kFormat) {
      return bad("seesaw_tuning = " + shown(json.value("seesaw_tuning", Json())),
                 std::to_string(kFormat));
    }
    if (!json.contains("seesaw_version") || !json["seesaw_version"].is_string()) {
      return bad("no seesaw_version", "the version that measured, e.g. \"0.1.0\"");
    }
    if (!json.contains("entries") || !json["entries"].is_array()) {
      return bad("no list \"entries\"", "a list of {\"match\", \"set\", \"measured\"}");
    }
    table->version = json["seesaw_version"].get<std::string>();
    for (const Json& entry : json["entries"]) {
      TuningEntry read_entry;
      SEESAW_RETURN_IF_ERROR(read(entry, &read_entry));
      for (const TuningEntry& before : table->entries) {
        if (before.key.match == read_entry.key.match) {
          return bad("a second entry for " + read_entry.key.match, "one entry a key");
        }
      }
      table->entries.push_back(std::move(read_entry));
      ++entry_;
    }
    return {};
  }

 private:
  Status bad(const std::string& arrived, std::string_view allowed) const {
    return invalid_argument(four_part_message(
        "tuning_file", fmt::format("{}: {}", where_, entry_ < 0 ? arrived : at_entry(arrived)),
        allowed, "Mend it, run `seesaw tune` again, or unset SEESAW_TUNE_FILE."));
  }
  std::string at_entry(const std::string& arrived) const {
    return fmt::format("entry {}: {}", entry_, arrived);
  }

  Status only(const Json& object, std::initializer_list<std::string_view> names) const {
    for (const auto& item : object.items()) {
      if (std::find(names.begin(), names.end(), item.key()) == names.end()) {
        return bad("unknown name " + shown(item.key()), fmt::format("{}", fmt::join(names, ", ")));
      }
    }
    return {};
  }

  Status read(const Json& entry, TuningEntry* to) {
    entry_ = std::max<int64_t>(entry_, 0);
    if (!entry.is_object() || !entry.contains("match") || !entry["match"].is_object() ||
        !entry.contains("set") || !entry["set"].is_object()) {
      return bad(shown(entry), "an object with the objects \"match\" and \"set\"");
    }
    SEESAW_RETURN_IF_ERROR(only(entry, {"match", "set", "measured"}));
    SEESAW_RETURN_IF_ERROR(read_key(entry["match"], &to->key));
    return read_values(entry["set"], to);
  }

  Status has_text(const Json& match, const std::string& name) const {
    return match.contains(name) && match[name].is_string()
               ? Status()
               : bad(fmt::format("match has no text \"{}\"", name), "the keys of plan_info");
  }

  Status read_key(const Json& match, TuningKey* key) const {
    SEESAW_RETURN_IF_ERROR(has_text(match, "device"));
    SEESAW_RETURN_IF_ERROR(has_text(match, "kernel"));
    key->device = match["device"].get<std::string>();
    key->kernel = match["kernel"].get<std::string>();
    key->match = dumped(match);
    if (const Operation* operation = find_kernel(key->kernel).operation; operation != nullptr) {
      return check_names(match, *operation);
    }
    return {};
  }

  // Exactly the names that tuning_key() writes, with values of their types.
  Status check_names(const Json& match, const Operation& operation) const {
    size_t count = 3;  // device, kernel, threads
    for (const Field& field : operation.problem) {
      if (field.match == Match::kNot) {
        continue;
      }
      ++count;
      const std::string name = key_name(field);
      if (has_choices(field)) {
        SEESAW_RETURN_IF_ERROR(has_text(match, name));
      } else {
        SEESAW_RETURN_IF_ERROR(has_number(match, name));
      }
    }
    SEESAW_RETURN_IF_ERROR(has_number(match, "threads"));
    return match.size() == count
               ? Status()
               : bad("match has unknown names: " + shown(match), "the keys of plan_info");
  }

  Status has_number(const Json& match, const std::string& name) const {
    return match.contains(name) && match[name].is_number_integer()
               ? Status()
               : bad(fmt::format("match has no whole number \"{}\"", name),
                     "the keys of plan_info");
  }

  Status read_values(const Json& set, TuningEntry* entry) const {
    const Kernel* kernel = find_kernel(entry->key.kernel).kernel;
    for (const auto& item : set.items()) {
      const Json& value = item.value();
      if (!value.is_number_integer()) {
        return bad(fmt::format("{} = {}", item.key(), shown(value)), "a whole number");
      }
      if (kernel != nullptr) {
        SEESAW_RETURN_IF_ERROR(check_value(*kernel, item.key(), value));
      }
      entry->values.emplace_back(item.key(), value.get<int32_t>());
    }
    return {};
  }

  Status check_value(const Kernel& kernel, const std::string& name, const Json& value) const {
    std::string names;
    for (const Knob& knob : kernel.knobs) {
      if (name != knob.name) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", knob.name);
        continue;
      }
      if (value < knob.least || value > knob.most || value.get<int64_t>() % knob.step != 0) {
        return bad(fmt::format("{} = {}", name, shown(value)),
                   fmt::format("multiples of {} from {} to {}", knob.step, knob.least, knob.most));
      }
      return {};
    }
    return bad("set has unknown name " + shown(name), names);
  }

  std::string_view where_;
  int64_t entry_ = -1;  // being read
};

}  // namespace

TuningKey tuning_key(const Operation& operation, const void* problem, const Options& options,
                     std::string_view device, std::string_view kernel) {
  OrderedJson json;
  json["device"] = device;
  json["kernel"] = kernel;
  for (const Field& field : operation.problem) {
    if (field.match == Match::kNot) {
      continue;
    }
    const int64_t value = get_number(field, problem);
    if (has_choices(field)) {
      const auto choice = std::find_if(field.choices.begin(), field.choices.end(),
                                       [&](const Choice& c) { return c.value == value; });
      // 0 may be left where it means that there is none, as of a second cache's format.
      json[key_name(field)] = choice == field.choices.end() ? "none" : choice->name;
    } else {
      json[key_name(field)] = field.match == Match::kClass ? power_of_two_from(value) : value;
    }
  }
  json["threads"] = on_cpu(options.device) ? options.num_threads : 0;
  TuningKey key;
  key.device = device;
  key.kernel = kernel;
  key.text = dumped(json);
  key.match = dumped(Json(json));
  return key;
}

std::string to_text(const TuningEntry& entry) {
  std::string text;
  for (const auto& [name, value] : entry.values) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  }
  return text.empty() ? "the kernel's own numbers" : text;
}

Status parse_tuning(std::string_view text, std::string_view where, TuningTable* table) {
  return Reader(where).read(text, table);
}

}  // namespace seesaw::engine
