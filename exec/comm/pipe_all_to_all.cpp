#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule pipe_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive,
                         const NodePlaces& places) {
  Schedule schedule;
  const int position = group.position();
  const auto own = static_cast<std::size_t>(position);
  schedule.add_round().locals.push_back({.kind = LocalStep::Kind::kCopy, .into = receive[own], .from = send[own]});
  const auto add_rounds = [&](const std::vector<NodeRound>& rounds, std::vector<Round>& stream) {
    for (const NodeRound round : rounds) {
      const int to = receiver_in(places, round, position);
      const int from = sender_in(places, round, position);
      if (to < 0 && from < 0) continue;
      Round& made = stream.emplace_back();
      if (from >= 0) made.receives.push_back({group.member(from), receive[static_cast<std::size_t>(from)]});
      if (to >= 0) made.sends.push_back({group.member(to), send[static_cast<std::size_t>(to)]});
    }
  };
  add_rounds(rounds_inside(places), schedule.rounds);
  add_rounds(rounds_across(places), schedule.beside);
  return schedule;
}

}  // namespace moesim
