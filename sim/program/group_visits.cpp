// The loads of a group where tokens travel once for every part that they visit.
#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "sim/program/group_loads.hpp"

namespace moesim {

VisitRows GroupLoads::visits(int layer, int variant, int i) const {
  VisitRows sums;
  if (!visited()) return sums;
  const VisitTable& table = *loads_->visits;
  const VisitParts& parts = table.parts();
  const auto sum = [](std::span<const std::int32_t> visits) {
    return std::accumulate(visits.begin(), visits.end(), std::int64_t{0});
  };
  const int own = sources_[static_cast<std::size_t>(i)];
  sums.spread = sum(parts.two_hops() ? table.of_nodes(layer, variant, own) : table.of_members(layer, variant, own));
  const auto on_node = static_cast<std::size_t>(parts.on_node);
  const auto node = static_cast<std::size_t>(i) / on_node;
  for (int from = 0; from < ep_; ++from) {
    const int source = sources_[static_cast<std::size_t>(from)];
    const auto members = table.of_members(layer, variant, source);
    sums.visiting += members[static_cast<std::size_t>(i)];
    if (!parts.two_hops() || from % parts.on_node != i % parts.on_node) continue;
    sums.relayed += table.of_nodes(layer, variant, source)[node];
    sums.relay_spread += sum(members.subspan(node * on_node, on_node));
  }
  return sums;
}

void GroupLoads::visit_matrix(int layer, int variant, GroupKind group, int i, std::vector<std::int64_t>& matrix) const {
  const VisitTable& table = *loads_->visits;
  const int on_node = table.parts().on_node;
  const int nodes = table.parts().nodes();
  const auto source = [this](int member) { return sources_[static_cast<std::size_t>(member)]; };
  matrix.clear();
  switch (group) {
    case GroupKind::kEp:
      for (int from = 0; from < ep_; ++from) {
        const auto visits = table.of_members(layer, variant, source(from));
        matrix.insert(matrix.end(), visits.begin(), visits.end());
      }
      return;
    case GroupKind::kEpAcross:
      for (int from = 0; from < nodes; ++from) {
        const auto visits = table.of_nodes(layer, variant, source(from * on_node + i % on_node));
        matrix.insert(matrix.end(), visits.begin(), visits.end());
      }
      return;
    case GroupKind::kEpInside: {
      const auto width = static_cast<std::size_t>(on_node);
      const std::size_t first = static_cast<std::size_t>(i) / width * width;
      matrix.assign(width * width, 0);
      for (int from = 0; from < ep_; ++from) {  // through the member with its place
        const auto visits = table.of_members(layer, variant, source(from)).subspan(first, width);
        std::int64_t* const row = matrix.data() + static_cast<std::size_t>(from % on_node) * width;
        for (std::size_t to = 0; to < width; ++to) row[to] += visits[to];
      }
      return;
    }
    default: MOESIM_ASSERT(!"no group that tokens visit");
  }
}

}  // namespace moesim
