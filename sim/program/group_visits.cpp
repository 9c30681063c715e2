// The loads of a group where tokens travel once for every part that they visit.
#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "sim/program/group_loads.hpp"

namespace moesim {

void GroupLoads::count_visits(int layers) {
  const VisitTable& table = *loads_->visits;
  const VisitParts& parts = table.parts();
  const auto ep = static_cast<std::size_t>(ep_);
  const auto on_node = static_cast<std::size_t>(parts.on_node);
  const auto sum = [](std::span<const std::int32_t> visits) {
    return std::accumulate(visits.begin(), visits.end(), std::int64_t{0});
  };
  visits_.assign(static_cast<std::size_t>(loads_->moe_layers) * static_cast<std::size_t>(loads_->variants) * ep, {});
  for (int layer = 0; layer < layers; ++layer)
    for (int variant = 0; variant < loads_->variants; ++variant) {
      VisitRows* const rows = visits_.data() + slot(layer, variant) * ep;
      for (std::size_t from = 0; from < ep; ++from) {
        const auto members = table.of_members(layer, variant, sources_[from]);
        for (std::size_t to = 0; to < ep; ++to) rows[to].visiting += members[to];
        if (!parts.two_hops()) {
          rows[from].spread = sum(members);
          continue;
        }
        const auto nodes = table.of_nodes(layer, variant, sources_[from]);
        rows[from].spread = sum(nodes);
        for (std::size_t node = 0; node < nodes.size(); ++node) {
          VisitRows& relay = rows[node * on_node + from % on_node];  // on that node, with the place of the source
          relay.relayed += nodes[node];
          relay.relay_spread += sum(members.subspan(node * on_node, on_node));
        }
      }
    }
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
