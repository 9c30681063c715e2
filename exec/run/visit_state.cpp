#include "exec/run/visit_state.hpp"

#include <numeric>

#include "base/error.hpp"

namespace moesim {

std::int64_t VisitState::sent(GroupKind group, int a, int b) const {
  const int on_node = parts.on_node;
  switch (group) {
    case GroupKind::kEp: return to_member(a, b);
    case GroupKind::kEpAcross: return to_node(a * on_node + i % on_node, b);
    case GroupKind::kEpInside: {  // what reached a from the members with its place
      std::int64_t sum = 0;
      for (int from = a; from < parts.ep; from += on_node) sum += to_member(from, i / on_node * on_node + b);
      return sum;
    }
    default: MOESIM_ASSERT(!"no group that tokens visit");
  }
  return 0;
}

VisitRows VisitState::rows() const {
  VisitRows rows;
  const auto nodes = own_counts.begin() + parts.ep;
  rows.spread = parts.two_hops() ? std::accumulate(nodes, own_counts.end(), std::int64_t{0})
                                 : std::accumulate(own_counts.begin(), nodes, std::int64_t{0});
  if (!known()) return rows;
  for (int from = 0; from < parts.ep; ++from) rows.visiting += to_member(from, i);
  if (!parts.two_hops()) return rows;
  for (int from = i % parts.on_node; from < parts.ep; from += parts.on_node)
    rows.relayed += to_node(from, i / parts.on_node);
  for (int to = 0; to < parts.on_node; ++to) rows.relay_spread += sent(GroupKind::kEpInside, i % parts.on_node, to);
  return rows;
}

}  // namespace moesim
