#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule linear_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive) {
  Schedule schedule;
  Round& round = schedule.add_round();
  const auto own = static_cast<std::size_t>(group.position());
  // Everyone begins with its neighbour, so that not all send to the same member first.
  for (int step = 1; step < group.size(); ++step) {
    const auto to = static_cast<std::size_t>(group.place(step));
    const auto from = static_cast<std::size_t>(group.place(-step));
    round.receives.push_back({group.neighbour(-step), receive[from]});
    round.sends.push_back({group.neighbour(step), send[to]});
  }
  round.locals.push_back({.kind = LocalStep::Kind::kCopy, .into = receive[own], .from = send[own]});
  return schedule;
}

}  // namespace moesim
