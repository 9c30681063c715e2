// Counts and labels as text. Recorders write whole counts as "177", "177.0" or "1.77e2"; all three are read, and
// anything that is not a whole number in range is an error that says what it is.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesim {

// Why the number at the start of `text` cannot be a count; called once it is known that it cannot.
[[nodiscard]] std::string describe_bad_count(std::string_view text);

// The slow path of parse_count: fractions and exponents. Null when it is not a whole number of 32 bits.
[[nodiscard]] const char* parse_real_count(const char* begin, const char* end, std::uint32_t& count);

// Reads one count from `begin`; returns the end of the number, or nullptr when there is none or it is not a count.
[[nodiscard]] inline const char* parse_count(const char* begin, const char* end, std::uint32_t& count) {
  std::uint64_t value = 0;
  const char* p = begin;
  for (; p != end; ++p) {
    const auto digit = static_cast<unsigned>(*p) - unsigned{'0'};
    if (digit > 9) break;
    value = value * 10 + digit;
    if (value > UINT32_MAX) return nullptr;
  }
  if (p == begin) return nullptr;
  count = static_cast<std::uint32_t>(value);
  if (p == end || (*p != '.' && *p != 'e' && *p != 'E')) return p;
  if (*p == '.' && end - p >= 2 && p[1] == '0' &&
      (end - p == 2 || ((p[2] < '0' || p[2] > '9') && (p[2] | 0x20) != 'e')))
    return p + 2;
  return parse_real_count(begin, end, count);
}

// The whole of `text` as an integer; false when it is none or outside of [smallest, largest].
template <class Integer>
[[nodiscard]] bool parse_integer(std::string_view text, Integer smallest, Integer largest, Integer& value) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && end == text.data() + text.size() && value >= smallest && value <= largest;
}

}  // namespace moesim
