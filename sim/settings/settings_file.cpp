// moesim.toml. The only file that includes toml++, whose headers are large.
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <optional>

#include "sim/settings/setting_text.hpp"
#include "sim/settings/settings.hpp"

namespace moesim {
namespace {

std::string place(const std::string& path, const toml::source_region& region) {
  return fmt::format("{}:{}", path, region.begin.line);
}

std::string kind_text(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a number with a fraction";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::array: return "a list";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

// A path in the file counts from the file's folder.
std::string resolved(const std::string& source, const std::string& path) {
  const std::size_t colon = source.find(':');
  const std::size_t slash = source.find('/');
  const bool named = colon != std::string::npos && (slash == std::string::npos || colon < slash);
  const std::size_t folder = path.rfind('/');
  if (named || source == "-" || source.starts_with('/') || folder == std::string::npos) return source;
  return path.substr(0, folder + 1) + source;
}

// The text of one value; nothing when it is of another kind.
std::optional<std::string> text_of(const toml::node& node, SettingKind kind, const std::string& path) {
  switch (kind) {
    case SettingKind::kNumber:
      if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
      return std::nullopt;
    case SettingKind::kSwitch:
      if (const auto* value = node.as_boolean()) return value->get() ? "true" : "false";
      return std::nullopt;
    case SettingKind::kWord:
      if (const auto* word = node.as_string()) return word->get();
      return std::nullopt;
    case SettingKind::kSource:
    case SettingKind::kSources:
      if (const auto* source = node.as_string()) return resolved(source->get(), path);
      return std::nullopt;
  }
  return std::nullopt;
}

Result<SettingValue> value_of(const SettingTraits& setting, const toml::node& node, const std::string& path) {
  SettingValue value{std::string(setting.key), {}, place(path, node.source())};
  const toml::array* const list = setting.kind == SettingKind::kSources ? node.as_array() : nullptr;
  const std::size_t count = list != nullptr ? list->size() : 1;
  for (std::size_t i = 0; i < count; ++i) {
    const toml::node& item = list != nullptr ? (*list)[i] : node;
    const std::optional<std::string> text = text_of(item, setting.kind, path);
    if (!text) return wrong_setting(setting, value.where, kind_text(item));
    if (text->empty()) return invalid_input(fmt::format("{} is empty", setting.key), value.where);
    value.values.push_back(*text);
  }
  return value;
}

}  // namespace

Result<SettingLayer> parse_settings(std::string_view text, const std::string& path) {
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& problem) {
    return invalid_input(std::string(problem.description()), place(path, problem.source()),
                         "lines are KEY = VALUE, with quotes around words");
  }
  SettingLayer layer;
  for (const auto& [key, node] : table)
    if (find_setting(key.str()) == nullptr) return unknown_setting(key.str(), place(path, key.source()));
  for (const SettingTraits& setting : known_settings()) {
    const toml::node* const node = table.get(setting.key);
    if (node == nullptr) continue;
    MOESIM_ASSIGN(SettingValue value, value_of(setting, *node, path));
    if (!value.values.empty()) layer.push_back(std::move(value));
  }
  return layer;
}

}  // namespace moesim
