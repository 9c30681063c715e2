#include <algorithm>
#include <array>

#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule ring_reduce_scatter(const CommGroup& group, Reduction how, const ConstBlocks& blocks,
                             std::span<std::byte> mine) {
  Schedule schedule;
  const int n = group.size();
  if (n == 1) {
    schedule.add_round().locals.push_back({.kind = LocalStep::Kind::kCopy, .into = mine, .from = blocks[0]});
    return schedule;
  }
  std::size_t largest = 0;
  for (const auto block : blocks) largest = std::max(largest, block.size());
  // A partial sum is sent in one round while the next one arrives.
  const std::array arrivals{schedule.add_scratch(largest), schedule.add_scratch(largest)};

  // Block j starts at member j+1 and ends at j: in round r this member adds to the block r+2 places back.
  std::span<const std::byte> partial = blocks[static_cast<std::size_t>(group.place(-1))];
  for (int r = 0; r + 1 < n; ++r) {
    const auto own = blocks[static_cast<std::size_t>(group.place(-r - 2))];
    const bool last = r + 2 == n;
    const auto arriving = last ? mine : arrivals[static_cast<std::size_t>(r % 2)].first(own.size());
    Round& round = schedule.add_round();
    round.receives.push_back({group.neighbour(-1), arriving});
    round.sends.push_back({group.neighbour(1), partial});
    round.locals.push_back({.kind = LocalStep::Kind::kReduce, .into = arriving, .from = own, .how = how});
    partial = arriving;
  }
  return schedule;
}

}  // namespace moesim
