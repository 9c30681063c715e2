#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule linear_all_gather(const CommGroup& group, const Blocks& blocks) {
  Schedule schedule;
  Round& round = schedule.add_round();
  const auto own = blocks[static_cast<std::size_t>(group.position())];
  for (int step = 1; step < group.size(); ++step) {
    round.receives.push_back({group.neighbour(-step), blocks[static_cast<std::size_t>(group.place(-step))]});
    round.sends.push_back({group.neighbour(step), own});
  }
  return schedule;
}

}  // namespace moesim
