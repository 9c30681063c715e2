#include <algorithm>

#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule ring_all_reduce(const CommGroup& group, Reduction how, const Blocks& blocks) {
  Schedule schedule;
  std::size_t largest = 0;
  for (const auto block : blocks) largest = std::max(largest, block.size());
  const auto arriving = schedule.add_scratch(largest);

  // Reduce-scatter in place, in the order of ring_reduce_scatter, so that this member ends up with its own block.
  for (int r = 0; r + 1 < group.size(); ++r) {
    const auto own = blocks[static_cast<std::size_t>(group.place(-r - 2))];
    Round& round = schedule.add_round();
    round.receives.push_back({group.neighbour(-1), arriving.first(own.size())});
    round.sends.push_back({group.neighbour(1), blocks[static_cast<std::size_t>(group.place(-r - 1))]});
    round.locals.push_back({.kind = LocalStep::Kind::kReduce,
                            .into = own,
                            .from = arriving.first(own.size()),
                            .how = how,
                            .order = OperandOrder::kFromFirst});
  }
  // Each sum was made by one member alone, so all get the same bits.
  schedule.append(ring_all_gather(group, blocks));
  return schedule;
}

}  // namespace moesim
