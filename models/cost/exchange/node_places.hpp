// Where the members of a group stand on nodes, and who relays for whom. The laws and the executor ask the same functions, so that
// what is priced is what is sent.
//
// Nodes may hold different numbers of members; the relays then are those that the places of the larger node wrap to.
// Example, nodes {0 1 2} {3 4}: a block from 3 to 2 goes over member 3 (place 2 of 2 wraps to 0), one from 0 to 4 over member 1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moesim {

struct NodePlaces {
  std::vector<std::int32_t> node;                  // of each member, numbered as they first appear
  std::vector<std::int32_t> place;                 // among the members of its node, in the group's order
  std::vector<std::vector<std::int32_t>> members;  // of each node

  [[nodiscard]] int size() const { return static_cast<int>(node.size()); }
  [[nodiscard]] bool together(int a, int b) const { return node_of(a) == node_of(b); }
  [[nodiscard]] std::int32_t node_of(int member) const { return node[static_cast<std::size_t>(member)]; }
  [[nodiscard]] const std::vector<std::int32_t>& neighbours(int member) const {
    return members[static_cast<std::size_t>(node_of(member))];
  }
  [[nodiscard]] int most_on_a_node() const;
  // -1: there is none.
  [[nodiscard]] int member_at(int on_node, int at_place) const;
};

// `labels`: anything that is equal for members of one node.
[[nodiscard]] NodePlaces node_places(std::span<const std::int32_t> labels);

// 2dh: the member of the sender's node that takes a block across; on one node the receiver itself.
[[nodiscard]] int relay_of(const NodePlaces& places, int from, int to);
// A round in which members send `nodes` nodes on and `shift` places on, both in a circle; those whose partner does not exist pause.
// (0, 1..G-1) are all rounds inside nodes of up to G members, (1..N-1, 0..G-1) all across: each ordered pair once, and in each round
// nobody has two partners. The partners of a member, -1: none.
struct NodeRound {
  int nodes = 0;
  int shift = 0;
};
[[nodiscard]] std::vector<NodeRound> rounds_inside(const NodePlaces& places);
[[nodiscard]] std::vector<NodeRound> rounds_across(const NodePlaces& places);
[[nodiscard]] int receiver_in(const NodePlaces& places, NodeRound round, int member);
[[nodiscard]] int sender_in(const NodePlaces& places, NodeRound round, int member);

// 1dh: the member that sends and receives for all of its node.
[[nodiscard]] inline int leader_of(const NodePlaces& places, int member) { return places.neighbours(member).front(); }

}  // namespace moesim
