// Small text helpers shared by the readers: spelling suggestions and byte/second formatting for people.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.hpp"

namespace moesim {

// The candidate closest to `word` (at most 1/3 of its letters differ), or empty.
[[nodiscard]] std::string closest_spelling(std::string_view word, std::span<const std::string> candidates);

// " (did you mean 'x'?)" or "" — to be appended to an error message.
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

[[nodiscard]] std::string_view trim(std::string_view text);
[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator);
[[nodiscard]] std::string to_lower(std::string_view text);

// True when the word occurs in the text, capitals or not.
[[nodiscard]] bool mentions(std::string_view text, std::string_view word);

// True when the bytes are well-formed UTF-8.
[[nodiscard]] bool is_utf8(std::string_view text);

// For people: "1.50 GiB", "2.31 ms", "450 GB/s". Files use plain SI numbers instead.
[[nodiscard]] std::string humanize(Bytes size);
[[nodiscard]] std::string humanize(Seconds time);
[[nodiscard]] std::string humanize(BytesPerSecond rate);

}  // namespace moesim
