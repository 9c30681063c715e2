#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule pairwise_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive) {
  Schedule schedule;
  const auto own = static_cast<std::size_t>(group.position());
  for (int step = 1; step < group.size(); ++step) {
    Round& round = schedule.add_round();
    round.receives.push_back({group.neighbour(-step), receive[static_cast<std::size_t>(group.place(-step))]});
    round.sends.push_back({group.neighbour(step), send[static_cast<std::size_t>(group.place(step))]});
  }
  schedule.add_round().locals.push_back({.kind = LocalStep::Kind::kCopy, .into = receive[own], .from = send[own]});
  return schedule;
}

}  // namespace moesim
