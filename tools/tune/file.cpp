#include "tune/file.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "error.hpp"
#include "io/atomic_file.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;

Json empty_file() {
  return {{"seesaw_tuning", 1}, {"seesaw_version", seesaw_version()}, {"entries", Json::array()}};
}

Json entry_of(const std::string& key, const Setting& setting) {
  Json set = Json::object();
  for (const auto& [name, value] : setting) {
    set[name] = value;
  }
  return {{"match", Json::parse(key)}, {"set", set}};
}

// Null if lists and objects are nested deeper than any tuning file's: what handles a value calls
// itself for each level.
Json parse_shallow(const std::string& text) {
  constexpr int kDeepest = 8;
  bool too_deep = false;
  const auto keep = [&](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  Json json = Json::parse(text, keep, /*allow_exceptions=*/false);
  return too_deep ? Json() : json;
}

Json read_existing(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    return empty_file();
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  Json json = parse_shallow(text.str());
  if (!file || !json.is_object() || json.value("seesaw_tuning", Json()) != 1 ||
      !json.value("entries", Json()).is_array()) {
    throw bad_input({path, "a file that is no tuning file",
                     "needed: none yet, or one that "
                     "`seesaw tune` wrote",
                     "Move it away or name another with -o."});
  }
  return json;
}

}  // namespace

void require_tuning_file(const std::string& path) { read_existing(path); }

std::string tuning_text(const std::string& key, const Setting& setting) {
  Json json = empty_file();
  json["entries"].push_back(entry_of(key, setting));
  return json.dump();
}

MergeReport merge_entry(const std::string& path, const std::string& key, const Setting& setting,
                        const Json& measured) {
  Json existing = read_existing(path);
  Json merged = empty_file();
  Json entry = entry_of(key, setting);
  MergeReport report;
  if (existing.value("seesaw_version", Json()) == merged["seesaw_version"]) {
    for (const Json& other : existing["entries"]) {
      if (other.value("match", Json()) != entry["match"]) {
        merged["entries"].push_back(other);
        ++report.kept;
      }
    }
  } else {
    report.dropped = static_cast<int64_t>(existing["entries"].size());
  }
  entry["measured"] = measured;
  merged["entries"].push_back(entry);
  write_text_file(path, merged.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return report;
}

}  // namespace seesaw::tools
