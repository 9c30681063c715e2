#include <bit>

#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule binomial_broadcast(const CommGroup& group, int root_position, std::span<std::byte> data) {
  Schedule schedule;
  const int n = group.size();
  const int place = (group.position() - root_position + n) % n;  // counted from the root
  const auto member = [&](int from_root) { return group.member((from_root + root_position) % n); };

  // Whoever has the data sends it 1, 2, 4, ... places on, the farthest first; it came from where the lowest bit leads.
  const int reach = place == 0 ? static_cast<int>(std::bit_ceil(static_cast<unsigned>(n))) : place & -place;
  if (place != 0) schedule.add_round().receives.push_back({member(place - reach), data});
  for (int distance = reach / 2; distance > 0; distance /= 2)
    if (place + distance < n) schedule.add_round().sends.push_back({member(place + distance), data});
  return schedule;
}

}  // namespace moesim
