// Values of options that a person would otherwise repeat on every command line: from MOESIM_* variables and from
// moesim.toml. The command line comes first, then variables, then files, the nearest first, then defaults.
//
// A file has one key on a line, named as the option without its dashes:
//   cluster = "my-cluster.json"   # a path counts from the file's folder; names such as "preset:h100" stay as they are
//   nodes = 8
//   profile = ["mine.json", "shipped:2-core-vm"]
// and MOESIM_NODES=8 is the same as nodes = 8. Lists in variables are separated by commas, switches are 0 or 1.
// Errors name FILE:LINE or the variable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

enum class SettingKind : std::uint8_t {
  kNumber,   // a whole number
  kWord,     // one of those that the option takes
  kSwitch,   // true or false
  kSource,   // a file, or a name with a prefix ("zoo:mixtral-8x7b")
  kSources,  // several of them
};

// Which commands a setting is for, of those that have the option.
enum class SettingUse : std::uint8_t {
  kEverywhere,
  kWithoutPlan,  // not where a plan file says it
};

struct SettingTraits {
  std::string_view key;
  SettingKind kind;
  SettingUse use;
  std::string_view purpose;
};
[[nodiscard]] std::span<const SettingTraits> known_settings();
[[nodiscard]] const SettingTraits* find_setting(std::string_view key);
[[nodiscard]] std::string setting_variable(std::string_view key);  // "nodes" -> "MOESIM_NODES"

struct SettingValue {
  std::string key;
  std::vector<std::string> values;  // as on a command line; one, unless the kind is kSources. Switches: "true", "false"
  std::string where;                // "moesim.toml:2", "MOESIM_NODES"
};
using SettingLayer = std::vector<SettingValue>;  // of one file, or of the environment; in the order of known_settings()

// The content of a file; `path` names it in errors, and its folder is what relative paths count from.
[[nodiscard]] Result<SettingLayer> parse_settings(std::string_view text, const std::string& path);

struct EnvironmentLayer {
  SettingLayer layer;
  std::vector<std::string> unknown;  // what is wrong with each MOESIM_* that is not a setting
};
// `lines` are "NAME=value", as a process is given them; empty values count as absent.
[[nodiscard]] Result<EnvironmentLayer> environment_settings(std::span<const std::string> lines);

// Of each key the value of the first layer that has it.
[[nodiscard]] SettingLayer merge_settings(std::span<const SettingLayer> layers);

}  // namespace moesim
