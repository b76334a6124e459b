// seesaw info: what this machine and this build can do.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/commands.hpp"
#include "lab/device/device.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

struct DeviceAnswers {
  const char* device;
  std::vector<KernelSupport> kernels;
};

// What every kernel says to the canonical problem: one token of each sequence, 128 heads, bf16.
DeviceAnswers ask(const char* name, const seesaw_device& device) {
  return {name, DenseDecode::supports({.batch = 1, .h_q = 128, .max_pages_per_sequence = 64},
                                      {.device = device})};
}

// Entries of SEESAW_DISABLE that are no kernel of this build: a misspelt one disables nothing.
std::vector<std::string> unknown_disabled(const std::vector<KernelSupport>& kernels) {
  const char* list = std::getenv("SEESAW_DISABLE");
  std::vector<std::string> unknown;
  std::istringstream entries(list == nullptr ? "" : list);
  for (std::string entry; std::getline(entries, entry, ',');) {
    entry.erase(0, std::min(entry.find_first_not_of(' '), entry.size()));
    entry.erase(entry.find_last_not_of(' ') + 1);
    const bool known = std::any_of(kernels.begin(), kernels.end(), [&](const KernelSupport& k) {
      return (k.kernel + ".").starts_with(entry + ".");
    });
    if (!entry.empty() && !known) {
      unknown.push_back(entry);
    }
  }
  return unknown;
}

void print_text(const Machine& machine, const std::vector<DeviceAnswers>& answers) {
  std::string features;
  for (const std::string& feature : machine.cpu_features) {
    features.append(features.empty() ? "" : " ").append(feature);
  }
  std::string caches;
  for (const CacheLevel& cache : machine.caches) {
    caches.append(caches.empty() ? "" : ", ").append(cache.name).append(" ");
    caches.append(bytes_text(static_cast<double>(cache.size_bytes)));
  }
  print_out("seesaw {} (commit {}, {})\n", seesaw_version(), build_commit(), machine.compiler);
  print_out("cpu      {}, {} usable, caches: {}\n", machine.cpu_model, machine.logical_cpus,
            caches.empty() ? "unknown" : caches);
  print_out("features {}\n", features.empty() ? "none that a kernel asks for" : features);
  print_out("memory   {}\n", bytes_text(static_cast<double>(machine.memory_bytes)));
  print_out("system   {}\n", machine.os);
  for (const std::string& entry : unknown_disabled(answers.front().kernels)) {
    print_out("warning  SEESAW_DISABLE names \"{}\", which is no kernel of this build\n", entry);
  }
  print_out("\n");
  Table devices({"device", "name", "units", "memory", "usable", "features, or why not"});
  for (const DeviceInfo& device : seesaw::devices()) {
    devices.add({device_text(device.device), device.name, std::to_string(device.num_units),
                 bytes_text(static_cast<double>(device.memory_bytes)), device.usable ? "yes" : "no",
                 device.usable ? device.features : device.reason});
  }
  print_out("{}\n", devices.text());
  Table operations({"operation", "what", "kernels"});
  for (const Operation& operation : description().operations) {
    std::string kernels;
    for (const Kernel& kernel : operation.kernels) {
      kernels.append(kernels.empty() ? "" : " ").append(kernel.name);
    }
    operations.add({operation.name, operation.help, kernels});
  }
  print_out("{}\n", operations.text());
  print_out(
      "dense_decode, bf16, 128 heads, s_q 1, pages of 64; the first kernel that can is used:\n");
  Table table({"device", "kernel", "here", "why not"});
  for (const DeviceAnswers& answer : answers) {
    for (const KernelSupport& kernel : answer.kernels) {
      table.add({answer.device, kernel.kernel, kernel.supported ? "yes" : "no", kernel.reason});
    }
  }
  print_out("{}", table.text());
}

nlohmann::ordered_json to_json(const Machine& machine, const std::vector<DeviceAnswers>& answers) {
  nlohmann::ordered_json json;
  json["version"] = seesaw_version();
  json["commit"] = build_commit();
  json["compiler"] = machine.compiler;
  json["cpu"] = {{"model", machine.cpu_model},
                 {"usable", machine.logical_cpus},
                 {"features", machine.cpu_features}};
  for (const CacheLevel& cache : machine.caches) {
    json["cpu"]["cache_bytes"][cache.name] = cache.size_bytes;
  }
  json["memory_bytes"] = machine.memory_bytes;
  json["os"] = machine.os;
  json["unknown_disabled"] = unknown_disabled(answers.front().kernels);
  for (const DeviceInfo& device : seesaw::devices()) {
    json["devices"].push_back({{"device", device_text(device.device)},
                               {"name", device.name},
                               {"units", device.num_units},
                               {"memory_bytes", device.memory_bytes},
                               {"usable", device.usable},
                               {"features", device.features},
                               {"reason", device.reason}});
  }
  const auto described = nlohmann::ordered_json::parse(describe());
  json["options"] = described["options"];
  json["operations"] = described["operations"];
  json["formats"] = described["formats"];
  for (const DeviceAnswers& answer : answers) {
    for (const KernelSupport& kernel : answer.kernels) {
      json["kernels"][answer.device].push_back(
          {{"kernel", kernel.kernel}, {"supported", kernel.supported}, {"reason", kernel.reason}});
    }
  }
  return json;
}

void info(const JsonOption& json) {
  const Machine machine = describe_machine();
  const std::vector<DeviceAnswers> answers = {ask("cpu", kCpu), ask("cuda:0", {SEESAW_CUDA, 0})};
  if (json.wanted()) {
    emit_json(to_json(machine, answers), json.target);
  } else {
    print_text(machine, answers);
  }
}

}  // namespace

void register_info(CLI::App& app) {
  auto json = std::make_shared<JsonOption>();
  CLI::App* command = app.add_subcommand(
      "info", "Version, CPU, memory, and every kernel of this build with why it can or cannot run");
  add_json_option(*command, json.get());
  command->footer("Examples:\n  seesaw info\n  seesaw info --json | grep supported");
  command->callback([json] { info(*json); });
}

}  // namespace seesaw::tools
