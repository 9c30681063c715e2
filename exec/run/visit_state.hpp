// Which tokens of an EP group visit which of its members and nodes (sim/program/visit_table.hpp), for one MoE layer and micro-batch;
// made when the gate has chosen. Each rank counts its own visits, the first exchange tells them to the group, and all rows of both
// hops follow.
#pragma once

#include <cstdint>
#include <vector>

#include "exec/compute/routing_args.hpp"
#include "exec/run/device_memory.hpp"
#include "sim/plan/layout.hpp"
#include "sim/program/visit_table.hpp"

namespace moesim {

// Which row goes where on a hop.
struct SpreadMap {
  RoutingMap map;  // of visits; points into the buffers
  BufferPtr part_rows, row_of_copy, copy_of_row;
  [[nodiscard]] bool made() const { return part_rows != nullptr; }
};

struct VisitState {
  VisitParts parts;
  int i = 0;             // this rank's place in the EP group
  SpreadMap own, relay;  // of its own tokens on the first hop, or the only one, and of those that it hands on
  std::vector<std::int32_t> own_counts;  // its tokens that visit each member, and then each node
  std::vector<std::int32_t> counts;  // the same of every member, one behind the other; empty until they have been told

  [[nodiscard]] bool known() const { return !counts.empty(); }
  [[nodiscard]] std::int64_t to_member(int from, int member) const { return count(from, member); }
  [[nodiscard]] std::int64_t to_node(int from, int node) const { return count(from, parts.ep + node); }
  // From member a to member b of this rank's group of the kind: kEp, or kEpAcross and kEpInside.
  [[nodiscard]] std::int64_t sent(GroupKind group, int a, int b) const;
  [[nodiscard]] VisitRows rows() const;  // before they have been told, of what this rank sends first alone

 private:
  [[nodiscard]] std::int64_t count(int from, int part) const {
    return counts[static_cast<std::size_t>(from * (parts.ep + parts.nodes()) + part)];
  }
};

}  // namespace moesim
