#include "case_match.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::string_view kGap = "...";

// `pattern` with kGap for any text.
bool matches_line(std::string_view pattern, std::string_view line) {
  const std::size_t gap = pattern.find(kGap);
  if (gap == std::string_view::npos) return pattern == line;
  if (!line.starts_with(pattern.substr(0, gap))) return false;
  const std::string_view rest = pattern.substr(gap + kGap.size());
  for (std::size_t at = gap; at <= line.size(); ++at)
    if (matches_line(rest, line.substr(at))) return true;
  return false;
}

using Lines = std::vector<std::string_view>;

bool matches_lines(const Lines& patterns, std::size_t pattern, const Lines& lines, std::size_t line) {
  if (pattern == patterns.size()) return line == lines.size();
  if (patterns[pattern] == kGap) {
    for (std::size_t at = line; at <= lines.size(); ++at)
      if (matches_lines(patterns, pattern + 1, lines, at)) return true;
    return false;
  }
  return line < lines.size() && matches_line(patterns[pattern], lines[line]) &&
         matches_lines(patterns, pattern + 1, lines, line + 1);
}

// The kind that "<number>" stands for; false when `expected` is an ordinary value.
bool is_kind(const nlohmann::json& expected, const nlohmann::json& actual, bool& fits) {
  if (!expected.is_string()) return false;
  const auto& word = expected.get_ref<const std::string&>();
  if (word == "<any>")
    fits = true;
  else if (word == "<number>")
    fits = actual.is_number();
  else if (word == "<string>")
    fits = actual.is_string();
  else if (word == "<list>")
    fits = actual.is_array();
  else if (word == "<object>")
    fits = actual.is_object();
  else if (word == "<bool>")
    fits = actual.is_boolean();
  else
    return false;
  return true;
}

std::string differ(const std::string& place, const nlohmann::json& expected, const nlohmann::json& actual) {
  return fmt::format("{}: expected {}, is {}", place, expected.dump(), actual.dump().substr(0, 200));
}

bool equal_numbers(double a, double b) { return std::abs(a - b) <= 1e-6 * std::max(std::abs(a), std::abs(b)); }

}  // namespace

bool matches_text(std::string_view expected, std::string_view actual) {
  return matches_lines(split(expected, '\n'), 0, split(actual, '\n'), 0);
}

std::string json_difference(const nlohmann::json& expected, const nlohmann::json& actual, const std::string& place) {
  bool fits = false;
  if (is_kind(expected, actual, fits)) return fits ? std::string() : differ(place, expected, actual);
  if (expected.is_object()) {
    if (!actual.is_object()) return differ(place, expected, actual);
    for (const auto& [key, value] : expected.items()) {
      if (!actual.contains(key)) return fmt::format("{}: no key '{}'", place, key);
      const std::string difference = json_difference(value, actual[key], place + "/" + key);
      if (!difference.empty()) return difference;
    }
    return {};
  }
  if (expected.is_array()) {
    if (!actual.is_array() || actual.size() != expected.size()) return differ(place, expected, actual);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::string difference = json_difference(expected[i], actual[i], fmt::format("{}/{}", place, i));
      if (!difference.empty()) return difference;
    }
    return {};
  }
  const bool equal = expected.is_number() && actual.is_number()
                         ? equal_numbers(expected.get<double>(), actual.get<double>())
                         : expected == actual;
  return equal ? std::string() : differ(place, expected, actual);
}

}  // namespace moesim
