#include "sim/plan/expert_parts.hpp"

#include <algorithm>

namespace moesim {

std::vector<PartRun> part_runs(const CutExperts& cut, std::int64_t before, std::int64_t after) {
  std::vector<PartRun> runs;
  const std::int64_t part = cut.part();
  for (std::int64_t begin = 0; begin < cut.numbers;) {
    const std::int64_t taken = before * cut.numbers + begin;
    const std::int64_t put = after * cut.numbers + begin;
    // Up to where the one or the other part ends.
    const std::int64_t count = std::min({cut.numbers - begin, part - taken % part, part - put % part});
    runs.push_back({static_cast<int>(taken / part), static_cast<int>(put / part), begin, count});
    begin += count;
  }
  return runs;
}

}  // namespace moesim
