#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule ring_all_gather(const CommGroup& group, const Blocks& blocks) {
  Schedule schedule;
  // In round r, pass on what came in the round before: the block of the member r places back.
  for (int r = 0; r + 1 < group.size(); ++r) {
    Round& round = schedule.add_round();
    round.receives.push_back({group.neighbour(-1), blocks[static_cast<std::size_t>(group.place(-r - 1))]});
    round.sends.push_back({group.neighbour(1), blocks[static_cast<std::size_t>(group.place(-r))]});
  }
  return schedule;
}

}  // namespace moesim
