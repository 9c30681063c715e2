// How ZeRO cuts numbers over the ranks that hold the same ones: even parts in order, the last perhaps smaller.
// Example: 10 numbers on 4 ranks: 3 3 3 1.
#pragma once

#include <algorithm>
#include <cstdint>

namespace moesim {

struct ElementRange {
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

// What member `index` of `members` owns of `elements`.
[[nodiscard]] inline ElementRange owned_range(std::int64_t elements, int members, int index) {
  const std::int64_t part = (elements + members - 1) / members;
  const std::int64_t begin = std::min(elements, index * part);
  return {begin, std::min(elements, begin + part) - begin};
}

}  // namespace moesim
