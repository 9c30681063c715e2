#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule dissemination_barrier(const CommGroup& group) {
  Schedule schedule;
  for (int distance = 1; distance < group.size(); distance *= 2) {
    Round& round = schedule.add_round();
    round.receives.push_back({group.neighbour(-distance), {}});
    round.sends.push_back({group.neighbour(distance), {}});
  }
  return schedule;
}

}  // namespace moesim
