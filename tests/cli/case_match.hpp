// Comparing what a command wrote with what a case expects; the rules are in README.md.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace moesim {

[[nodiscard]] bool matches_text(std::string_view expected, std::string_view actual);

// Empty when `actual` holds all of `expected`; else where and how they differ.
[[nodiscard]] std::string json_difference(const nlohmann::json& expected, const nlohmann::json& actual,
                                          const std::string& place = "#");

}  // namespace moesim
