#include "sim/engine/critical_path.hpp"

#include <algorithm>

namespace moesim {

std::vector<std::uint32_t> critical_path(const ReplayResult& result) {
  std::vector<std::uint32_t> path;
  // Intervals are in the order of their ends, so the last one ends last.
  for (auto at = static_cast<std::int32_t>(result.intervals.size()) - 1; at >= 0;
       at = result.intervals[static_cast<std::size_t>(at)].cause) {
    path.push_back(static_cast<std::uint32_t>(at));
  }
  std::reverse(path.begin(), path.end());
  return path;
}

}  // namespace moesim
