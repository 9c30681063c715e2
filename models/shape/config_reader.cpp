#include "models/shape/config_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace moesim {
namespace {

std::string spellings(ConfigReader::Keys keys) {
  std::string text(*keys.begin());
  if (keys.size() > 1) text += fmt::format(" (or {})", fmt::join(keys.begin() + 1, keys.end(), ", "));
  return text;
}

}  // namespace

ConfigReader::ConfigReader(JsonReader object, std::string subject)
    : object_(std::move(object)), subject_(std::move(subject)) {}

std::optional<JsonReader> ConfigReader::find(std::string_view key) const {
  JsonReader reader = object_;
  for (const std::string_view part : split(key, '.')) {
    auto child = reader.optional(part);
    if (!child) return std::nullopt;
    reader = *std::move(child);
  }
  return reader;
}

bool ConfigReader::has(std::string_view key) const { return find(key).has_value(); }

bool ConfigReader::is_list(std::string_view key) const {
  const auto reader = find(key);
  return reader && reader->is_array();
}

bool ConfigReader::present(std::string_view key) const { return object_.is_object() && object_.value().contains(key); }

void ConfigReader::keep_first(Error error) {
  if (!problem_) problem_ = std::move(error);
}

void ConfigReader::problem(std::string_view key, std::string what, std::string hint) {
  keep_first(object_.error_at(key, std::move(what), std::move(hint)).value());
}

void ConfigReader::missing(std::string what) { missing_.push_back(std::move(what)); }

std::optional<std::int64_t> ConfigReader::agreed(Keys keys, std::int64_t smallest, std::int64_t largest) {
  std::optional<std::int64_t> value;
  std::string_view first;
  for (const std::string_view key : keys) {
    asked_.emplace_back(key);
    const auto reader = find(key);
    if (!reader) continue;
    const auto number = reader->as_int(smallest, largest);
    if (!number) {
      keep_first(number.error());
    } else if (!value) {
      value = *number;
      first = key;
      used_.emplace_back(key);
    } else if (*value != *number) {
      problem(key, fmt::format("{} is {} but {} is {}", first, *value, key, *number),
              "these are two spellings of one size; keep the right one");
    }
  }
  return value;
}

std::int64_t ConfigReader::size(Keys keys, std::int64_t largest) {
  const auto value = agreed(keys, 1, largest);
  const bool somewhere = std::any_of(keys.begin(), keys.end(), [this](std::string_view key) { return has(key); });
  if (!value && !somewhere) missing(spellings(keys));
  return value.value_or(1);
}

std::int64_t ConfigReader::size_or(Keys keys, std::int64_t fallback, std::int64_t largest) {
  return agreed(keys, 0, largest).value_or(fallback);
}

std::int64_t ConfigReader::size_or_null(Keys keys, std::int64_t largest) {
  const auto value = agreed(keys, 0, largest);
  const bool stands = std::any_of(keys.begin(), keys.end(), [this](std::string_view key) { return present(key); });
  if (!stands) missing(spellings(keys) + " (null: none)");
  return value.value_or(0);
}

bool ConfigReader::flag_or(Keys keys, bool fallback) {
  for (const std::string_view key : keys) {
    asked_.emplace_back(key);
    const auto reader = find(key);
    if (!reader) continue;
    const auto value = reader->as_bool();
    if (value) return *value;
    keep_first(value.error());
  }
  return fallback;
}

std::string ConfigReader::text_or(std::string_view key, std::string fallback) {
  asked_.emplace_back(key);
  const auto reader = find(key);
  if (!reader) return fallback;
  auto value = reader->as_string();
  if (value) return *std::move(value);
  keep_first(value.error());
  return fallback;
}

std::vector<JsonReader> ConfigReader::elements(std::string_view key) {
  asked_.emplace_back(key);
  const auto reader = find(key);
  if (!reader) return {};
  auto elements = reader->elements();
  if (elements) return *std::move(elements);
  keep_first(elements.error());
  return {};
}

std::vector<std::int64_t> ConfigReader::sizes(std::string_view key, std::int64_t largest) {
  std::vector<std::int64_t> values;
  for (const JsonReader& element : elements(key)) {
    const auto value = element.as_int(0, largest);
    if (!value) keep_first(value.error());
    values.push_back(value.value_or(0));
  }
  return values;
}

std::vector<std::string> ConfigReader::texts(std::string_view key) {
  std::vector<std::string> values;
  for (const JsonReader& element : elements(key)) {
    const auto value = element.as_string();
    if (!value) keep_first(value.error());
    values.push_back(value.value_or(std::string()));
  }
  return values;
}

Status ConfigReader::finish() const {
  if (problem_) return tl::unexpected<Error>(*problem_);
  if (missing_.empty()) return {};
  std::vector<std::string> unread;
  for (const std::string& key : object_.keys())
    if (std::find(asked_.begin(), asked_.end(), key) == asked_.end()) unread.push_back(key);
  std::string hint = "give them as the model's own config.json does; no library default stands in for a size";
  for (const std::string& slot : missing_) {
    const std::string close = closest_spelling(slot.substr(0, slot.find(' ')), unread);
    if (!close.empty())
      hint += fmt::format("; there is a key '{}': is that {}?", close, slot.substr(0, slot.find(' ')));
  }
  return object_.error(fmt::format("'{}' needs {}, which {} missing", subject_, fmt::join(missing_, ", "),
                                   missing_.size() == 1 ? "is" : "are"),
                       std::move(hint));
}

Status ConfigReader::reject_unknown_keys(std::span<const std::string_view> known) const {
  for (const std::string& key : object_.keys()) {
    if (key.starts_with('_') || std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::vector<std::string> names(known.begin(), known.end());
    return object_.error_at(key, fmt::format("unknown key '{}'{}", key, did_you_mean(key, names)),
                            fmt::format("known keys: {}", fmt::join(known, ", ")));
  }
  return {};
}

}  // namespace moesim
