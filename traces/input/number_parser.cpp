#include "traces/input/number_parser.hpp"

#include <fmt/format.h>

#include <cmath>

namespace moesim {

std::string describe_bad_count(std::string_view text) {
  const std::string_view word = text.substr(0, text.find_first_of(", \t]\r\n"));
  if (word.empty()) return "a count is missing";
  double value = 0;
  const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), value);
  const std::string shown(word.substr(0, 40));
  if (end != word.data() + word.size() || (problem != std::errc() && problem != std::errc::result_out_of_range))
    return fmt::format("'{}' is not a number", shown);
  if (std::isnan(value)) return "a count is NaN";
  if (value < 0) return fmt::format("a count is negative: {}", shown);
  if (problem != std::errc() || value > static_cast<double>(UINT32_MAX))
    return fmt::format("a count is too large: {} (the limit is {})", shown, UINT32_MAX);
  return fmt::format("a count is not a whole number: {}", shown);
}

const char* parse_real_count(const char* begin, const char* end, std::uint32_t& count) {
  double value = 0;
  const auto [stop, problem] = std::from_chars(begin, end, value);
  if (problem != std::errc() || !(value >= 0) || value > static_cast<double>(UINT32_MAX) || value != std::floor(value))
    return nullptr;
  count = static_cast<std::uint32_t>(value);
  return stop;
}

}  // namespace moesim
