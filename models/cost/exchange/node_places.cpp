#include "models/cost/exchange/node_places.hpp"

#include <algorithm>
#include <map>

namespace moesim {

int NodePlaces::most_on_a_node() const {
  std::size_t most = 0;
  for (const auto& node_members : members) most = std::max(most, node_members.size());
  return static_cast<int>(most);
}

NodePlaces node_places(std::span<const std::int32_t> labels) {
  NodePlaces places;
  std::map<std::int32_t, std::int32_t> number;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto node = number.emplace(labels[i], static_cast<std::int32_t>(number.size())).first->second;
    if (static_cast<std::size_t>(node) == places.members.size()) places.members.emplace_back();
    auto& members = places.members[static_cast<std::size_t>(node)];
    places.node.push_back(node);
    places.place.push_back(static_cast<std::int32_t>(members.size()));
    members.push_back(static_cast<std::int32_t>(i));
  }
  return places;
}

int NodePlaces::member_at(int on_node, int at_place) const {
  const auto& there = members[static_cast<std::size_t>(on_node)];
  return at_place < static_cast<int>(there.size()) ? there[static_cast<std::size_t>(at_place)] : -1;
}

std::vector<NodeRound> rounds_inside(const NodePlaces& places) {
  std::vector<NodeRound> rounds;
  for (int shift = 1; shift < places.most_on_a_node(); ++shift) rounds.push_back({0, shift});
  return rounds;
}

std::vector<NodeRound> rounds_across(const NodePlaces& places) {
  std::vector<NodeRound> rounds;
  for (int nodes = 1; nodes < static_cast<int>(places.members.size()); ++nodes)
    for (int shift = 0; shift < places.most_on_a_node(); ++shift) rounds.push_back({nodes, shift});
  return rounds;
}

namespace {

int partner(const NodePlaces& places, int member, int nodes, int shift) {
  const int count = static_cast<int>(places.members.size());
  const int most = places.most_on_a_node();
  const int node = (places.node_of(member) + nodes + count) % count;
  return places.member_at(node, (places.place[static_cast<std::size_t>(member)] + shift + most) % most);
}

}  // namespace

int receiver_in(const NodePlaces& places, NodeRound round, int member) {
  return partner(places, member, round.nodes, round.shift);
}

int sender_in(const NodePlaces& places, NodeRound round, int member) {
  return partner(places, member, -round.nodes, -round.shift);
}

int relay_of(const NodePlaces& places, int from, int to) {
  if (places.together(from, to)) return to;
  const std::vector<std::int32_t>& own = places.neighbours(from);
  return own[static_cast<std::size_t>(places.place[static_cast<std::size_t>(to)]) % own.size()];
}

}  // namespace moesim
