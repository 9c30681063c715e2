// The values of one axis of a sweep, as people write them.
//
//   1,2,4,8     these values, in this order
//   8:64:x2     from 8 to at most 64, each twice the one before: 8 16 32 64
//   1:4:+1      from 1 to at most 4 in steps of 1: 1 2 3 4
//   1,8:64:x2   a list may hold ranges: 1 8 16 32 64
// Values of an axis differ from each other, and there are at most kMostAxisValues. Errors have no place; callers know it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

constexpr std::size_t kMostAxisValues = 100'000;

[[nodiscard]] Result<std::vector<std::int64_t>> parse_integer_axis(std::string_view text, std::int64_t smallest,
                                                                   std::int64_t largest);
// "1,1.25,1.5"; ranges too: "1:2:+0.25" is 1 1.25 1.5 1.75 2, counted as start + i * step so that errors do not add up.
[[nodiscard]] Result<std::vector<double>> parse_number_axis(std::string_view text, double smallest, double largest);
// "zoo:mixtral-8x7b,zoo:dbrx"; a value that holds a comma has to stand in a specification file.
[[nodiscard]] Result<std::vector<std::string>> parse_word_axis(std::string_view text);

}  // namespace moesim
