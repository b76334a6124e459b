#include "engine/tuning_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <nlohmann/json.hpp>

#include "base/message.hpp"

namespace seesaw::split {
namespace {

using Json = nlohmann::ordered_json;

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

struct TextField {
  const char* name;
  std::string TuningKey::*member;
};
constexpr std::array kTexts = {
    TextField{"device", &TuningKey::device}, TextField{"kernel", &TuningKey::kernel},
    TextField{"q_dtype", &TuningKey::q_dtype}, TextField{"kv_dtype", &TuningKey::kv_dtype}};

struct NumberField {
  const char* name;
  int64_t TuningKey::*member;
};
constexpr std::array kNumbers = {NumberField{"h_kv", &TuningKey::h_kv},
                                 NumberField{"rows", &TuningKey::rows},
                                 NumberField{"d_qk", &TuningKey::d_qk},
                                 NumberField{"d_v", &TuningKey::d_v},
                                 NumberField{"batch_class", &TuningKey::batch_class},
                                 NumberField{"tokens_class", &TuningKey::tokens_class},
                                 NumberField{"threads", &TuningKey::threads}};

// What may be set, and to what: a multiple of `step` in [least, most].
struct Knob {
  const char* name;
  int32_t Tuning::*member;
  int32_t least;
  int32_t most;
  int32_t step;
};
constexpr std::array kKnobs = {Knob{"num_workers", &Tuning::num_workers, 1, 1 << 20, 1},
                               Knob{"piece_cost_tiles", &Tuning::piece_cost_tiles, 1, 1 << 20, 1},
                               Knob{"split_cost_tiles", &Tuning::split_cost_tiles, 0, 1 << 20, 1},
                               Knob{"chunk_tokens", &Tuning::chunk_tokens, 64, 4096, 64}};

// A value as it arrived, short enough for a message.
std::string shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 60) + "..." : text;
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
        if (before.key == read_entry.key) {
          return bad("a second entry for " + to_json(read_entry.key), "one entry a key");
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
    return read_knobs(entry["set"], &to->tuning);
  }

  Status read_key(const Json& match, TuningKey* key) const {
    for (const TextField& field : kTexts) {
      if (!match.contains(field.name) || !match[field.name].is_string()) {
        return bad(fmt::format("match has no text \"{}\"", field.name),
                   "the keys that plan_info reports");
      }
      key->*field.member = match[field.name].get<std::string>();
    }
    for (const NumberField& field : kNumbers) {
      if (!match.contains(field.name) || !match[field.name].is_number_integer()) {
        return bad(fmt::format("match has no whole number \"{}\"", field.name),
                   "the keys that plan_info reports");
      }
      key->*field.member = match[field.name].get<int64_t>();
    }
    if (match.size() != kTexts.size() + kNumbers.size()) {
      return bad("match has unknown names: " + shown(match), "the keys that plan_info reports");
    }
    return {};
  }

  Status read_knobs(const Json& set, Tuning* tuning) const {
    for (const auto& item : set.items()) {
      const auto* knob = std::find_if(kKnobs.begin(), kKnobs.end(),
                                      [&](const Knob& k) { return item.key() == k.name; });
      if (knob == kKnobs.end()) {
        return bad("set has unknown name " + shown(item.key()),
                   "num_workers, piece_cost_tiles, split_cost_tiles, chunk_tokens");
      }
      const Json& value = item.value();
      if (!value.is_number_integer() || value < knob->least || value > knob->most ||
          value.get<int64_t>() % knob->step != 0) {
        return bad(
            fmt::format("{} = {}", knob->name, shown(value)),
            fmt::format("multiples of {} from {} to {}", knob->step, knob->least, knob->most));
      }
      tuning->*knob->member = value.get<int32_t>();
    }
    return {};
  }

  std::string_view where_;
  int64_t entry_ = -1;  // being read
};

int64_t power_of_two_from(int64_t value) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(value, 1))));
}

}  // namespace

TuningKey tuning_key(const DenseDecodeProblem& problem, std::string_view device,
                     std::string_view kernel) {
  TuningKey key;
  key.device = device;
  key.kernel = kernel;
  key.q_dtype = name_of(problem.q_dtype);
  key.kv_dtype = name_of(problem.kv_dtype);
  key.h_kv = problem.h_kv;
  key.rows = problem.rows();
  key.d_qk = problem.d_qk;
  key.d_v = problem.d_v;
  key.batch_class = power_of_two_from(problem.batch);
  key.tokens_class = power_of_two_from(problem.max_tokens());
  key.threads = problem.device.type == DeviceType::kCpu ? problem.num_threads : 0;
  return key;
}

std::string to_json(const TuningKey& key) {
  Json json;
  for (const TextField& field : kTexts) {
    json[field.name] = key.*field.member;
  }
  for (const NumberField& field : kNumbers) {
    json[field.name] = key.*field.member;
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string to_text(const Tuning& tuning) {
  std::string text;
  for (const Knob& knob : kKnobs) {
    if (tuning.*knob.member != Tuning::kUnset) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", knob.name, tuning.*knob.member);
    }
  }
  return text.empty() ? "the kernel's own numbers" : text;
}

Status parse_tuning(std::string_view text, std::string_view where, TuningTable* table) {
  return Reader(where).read(text, table);
}

}  // namespace seesaw::split
