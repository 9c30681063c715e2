#include "sim/program/visit_table.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/program/routed_loads.hpp"
#include "sim/program/visit_law.hpp"

namespace moesim {

std::int64_t VisitRows::of(RowSource source) const {
  switch (source) {
    case RowSource::kSpread: return spread;
    case RowSource::kRelayed: return relayed;
    case RowSource::kRelaySpread: return relay_spread;
    case RowSource::kVisiting: return visiting;
    default: return 0;
  }
}

VisitRows most_of(const VisitRows& a, const VisitRows& b) {
  return {std::max(a.spread, b.spread), std::max(a.relayed, b.relayed), std::max(a.relay_spread, b.relay_spread),
          std::max(a.visiting, b.visiting)};
}

VisitRows least_of(const VisitRows& a, const VisitRows& b) {
  return {std::min(a.spread, b.spread), std::min(a.relayed, b.relayed), std::min(a.relay_spread, b.relay_spread),
          std::min(a.visiting, b.visiting)};
}

VisitTable::VisitTable(const RoutedLoads& loads, const VisitParts& parts, const GateGroups& groups,
                       const ExpertSlots& slots)
    : parts_(parts), variants_(loads.variants), sources_(loads.sources) {
  layers_ = loads.balanced && slots.in_order() ? 1 : loads.moe_layers;
  std::vector<std::int32_t> visits;
  for (int layer = 0; layer < layers_; ++layer) {
    const std::span<const std::int32_t> expert_of_slot =
        slots.in_order() ? std::span<const std::int32_t>()
                         : std::span(slots.expert_at[static_cast<std::size_t>(layer)]);
    VisitLaw law(loads.experts, loads.top_k, groups, expert_of_slot);
    for (int variant = 0; variant < variants_; ++variant)
      for (int source = 0; source < sources_; ++source) {
        const auto counts = loads.row(layer, variant, source);
        law.visits(counts, loads.tokens_per_source, parts_.ep, visits);
        members_.insert(members_.end(), visits.begin(), visits.end());
        const std::vector<std::int32_t> of_members = std::move(visits);
        law.visits(counts, loads.tokens_per_source, parts_.nodes(), visits);
        // Each was rounded by itself.
        for (std::size_t node = 0; node < visits.size(); ++node) {
          const auto first = of_members.begin() + static_cast<std::ptrdiff_t>(node) * parts_.on_node;
          const auto last = first + parts_.on_node;
          visits[node] = std::clamp(visits[node], *std::max_element(first, last), std::accumulate(first, last, 0));
        }
        nodes_.insert(nodes_.end(), visits.begin(), visits.end());
      }
  }
}

std::shared_ptr<const VisitTable> VisitCache::table(const RoutedLoads& loads, const VisitParts& parts,
                                                    const GateGroups& groups, const ExpertSlots& slots) const {
  const std::scoped_lock lock(mutex_);  // others wait for the table that they would make themselves
  std::shared_ptr<const VisitTable>& known = tables_[{parts, groups, slots.expert_at}];
  if (!known) known = std::make_shared<const VisitTable>(loads, parts, groups, slots);
  return known;
}

std::shared_ptr<const RoutedLoads> with_visits(std::shared_ptr<const RoutedLoads> loads, const VisitParts& parts,
                                               const GateGroups& groups, const ExpertSlots& slots) {
  if (parts.ep == 1 || loads->moe_layers == 0) return loads;
  RoutedLoads visiting = *loads;
  visiting.visits = loads->visit_cache.table(*loads, parts, groups, slots);
  return std::make_shared<const RoutedLoads>(std::move(visiting));
}

BalancedVisits balanced_visits(std::int64_t experts, std::int64_t top_k, std::int64_t tokens, const VisitParts& parts,
                               const GateGroups& groups) {
  const RoutedLoads loads = balanced_routed_loads(1, static_cast<int>(experts), static_cast<int>(top_k), tokens);
  const VisitTable table(loads, parts, groups, {});
  const auto sum = [](std::span<const std::int32_t> visits) {
    return std::accumulate(visits.begin(), visits.end(), std::int64_t{0});
  };
  return {sum(table.of_members(0, 0, 0)), sum(table.of_nodes(0, 0, 0))};
}

}  // namespace moesim
