#include "sim/settings/settings.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.hpp"
#include "sim/settings/setting_text.hpp"

namespace moesim {
namespace {

constexpr std::string_view kVariablePrefix = "MOESIM_";

constexpr std::array kSettings = {
    SettingTraits{"model", SettingKind::kSource, SettingUse::kWithoutPlan, "What is trained"},
    SettingTraits{"cluster", SettingKind::kSource, SettingUse::kWithoutPlan, "What it is trained on"},
    SettingTraits{"nodes", SettingKind::kNumber, SettingUse::kWithoutPlan, "How many nodes of that cluster"},
    SettingTraits{"trace", SettingKind::kSource, SettingUse::kWithoutPlan, "What the gate chose"},
    SettingTraits{"precision", SettingKind::kWord, SettingUse::kWithoutPlan, "How a run computes and stores"},
    SettingTraits{"profile", SettingKind::kSources, SettingUse::kEverywhere, "Measured parameters of the cost laws"},
    SettingTraits{"jobs", SettingKind::kNumber, SettingUse::kEverywhere, "Threads"},
    SettingTraits{"color", SettingKind::kWord, SettingUse::kEverywhere, "Colour in tables"},
    SettingTraits{"quiet", SettingKind::kSwitch, SettingUse::kEverywhere, "No progress and no notes"},
};

std::vector<std::string> keys() {
  std::vector<std::string> names;
  for (const SettingTraits& setting : kSettings) names.emplace_back(setting.key);
  return names;
}

std::vector<std::string> pieces(const std::string& text, SettingKind kind) {
  if (kind != SettingKind::kSources) return {text};
  std::vector<std::string> values;
  for (const std::string_view piece : split(text, ',')) values.emplace_back(trim(piece));
  return values;
}

Result<std::vector<std::string>> values_of_variable(const SettingTraits& setting, const std::string& text) {
  if (setting.kind == SettingKind::kSwitch) {
    if (text == "1" || text == "true") return std::vector<std::string>{"true"};
    if (text == "0" || text == "false") return std::vector<std::string>{"false"};
    return wrong_setting(setting, setting_variable(setting.key), fmt::format("'{}'", text));
  }
  if (setting.kind == SettingKind::kNumber) {
    std::int64_t number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (problem != std::errc() || end != text.data() + text.size())
      return wrong_setting(setting, setting_variable(setting.key), fmt::format("'{}'", text));
  }
  std::vector<std::string> values = pieces(text, setting.kind);
  if (std::any_of(values.begin(), values.end(), [](const std::string& value) { return value.empty(); }))
    return invalid_input("a name in the list is empty", setting_variable(setting.key));
  return values;
}

}  // namespace

std::span<const SettingTraits> known_settings() { return kSettings; }

const SettingTraits* find_setting(std::string_view key) {
  const auto* const found =
      std::find_if(kSettings.begin(), kSettings.end(), [&](const SettingTraits& each) { return each.key == key; });
  return found == kSettings.end() ? nullptr : found;
}

std::string setting_variable(std::string_view key) {
  std::string name(kVariablePrefix);
  for (const char c : key) name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : '_';
  return name;
}

tl::unexpected<Error> wrong_setting(const SettingTraits& setting, std::string where, const std::string& found) {
  constexpr std::array<std::string_view, 5> kWanted = {"a whole number", "a word in quotes", "true or false",
                                                       "a name in quotes", "a name in quotes or a list of them"};
  return invalid_input(
      fmt::format("{} should be {}, not {}", setting.key, kWanted[static_cast<std::size_t>(setting.kind)], found),
      std::move(where));
}

tl::unexpected<Error> unknown_setting(std::string_view key, std::string where) {
  return invalid_input(fmt::format("unknown setting '{}'{}", key, did_you_mean(key, keys())), std::move(where),
                       fmt::format("settings are {}", fmt::join(keys(), ", ")));
}

Result<EnvironmentLayer> environment_settings(std::span<const std::string> lines) {
  EnvironmentLayer found;
  std::vector<std::string> variables;
  for (const SettingTraits& setting : kSettings) variables.push_back(setting_variable(setting.key));
  for (const SettingTraits& setting : kSettings) {
    const std::string head = setting_variable(setting.key) + "=";
    for (const std::string& line : lines) {
      if (!line.starts_with(head) || line.size() == head.size()) continue;
      MOESIM_ASSIGN(std::vector<std::string> values, values_of_variable(setting, line.substr(head.size())));
      found.layer.push_back({std::string(setting.key), std::move(values), setting_variable(setting.key)});
    }
  }
  for (const std::string& line : lines) {
    const std::string name = line.substr(0, line.find('='));
    if (!name.starts_with(kVariablePrefix) || std::find(variables.begin(), variables.end(), name) != variables.end())
      continue;
    found.unknown.push_back(fmt::format("the variable {} is no setting{}", name, did_you_mean(name, variables)));
  }
  std::sort(found.unknown.begin(), found.unknown.end());
  return found;
}

SettingLayer merge_settings(std::span<const SettingLayer> layers) {
  SettingLayer merged;
  for (const SettingTraits& setting : kSettings)
    for (const SettingLayer& layer : layers) {
      const auto found =
          std::find_if(layer.begin(), layer.end(), [&](const SettingValue& value) { return value.key == setting.key; });
      if (found == layer.end()) continue;
      merged.push_back(*found);
      break;
    }
  return merged;
}

}  // namespace moesim
