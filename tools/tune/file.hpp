// The result file of `seesaw tune`, which the planner reads. docs/tune.md has the format.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tune/search.hpp"

namespace seesaw::tools {

// One entry's text, alone: what a candidate is planned with. `key` is plan_info's tuning_key.
std::string tuning_text(const std::string& key, const Setting& setting);

struct MergeReport {
  int64_t kept = 0;     // entries of other keys
  int64_t dropped = 0;  // entries of another version of the library
};

// Throws Failure if what is at `path` is no tuning file that an entry can be added to; none yet is
// one.
void require_tuning_file(const std::string& path);

// Puts the entry into the file at `path`, in the place of the one with the same key if there is
// one; the file appears whole or stays as it was. Throws Failure if what is there is no tuning file
// of this format.
MergeReport merge_entry(const std::string& path, const std::string& key, const Setting& setting,
                        const nlohmann::ordered_json& measured);

}  // namespace seesaw::tools
