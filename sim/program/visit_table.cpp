#include "sim/program/visit_table.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_map>
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
  const auto rows = static_cast<std::size_t>(layers_) * static_cast<std::size_t>(variants_ * sources_);
  members_.reserve(rows * static_cast<std::size_t>(parts_.ep));
  nodes_.reserve(rows * static_cast<std::size_t>(parts_.nodes()));
  std::optional<VisitLaw> law;
  // Layers and sources beyond those that were recorded repeat them: rows of the same counts have the same visits.
  std::unordered_map<std::string_view, std::size_t> first_with;
  std::size_t row = 0;
  for (int layer = 0; layer < layers_; ++layer) {
    if (!law || !slots.in_order()) {
      law.emplace(loads.experts, loads.top_k, groups,
                  slots.in_order() ? std::span<const std::int32_t>()
                                   : std::span(slots.expert_at[static_cast<std::size_t>(layer)]));
      first_with.clear();
    }
    for (int variant = 0; variant < variants_; ++variant)
      for (int source = 0; source < sources_; ++source, ++row) {
        const auto counts = loads.row(layer, variant, source);
        const std::string_view bytes(reinterpret_cast<const char*>(counts.data()), counts.size_bytes());
        const auto [known, fresh] = first_with.try_emplace(bytes, row);
        if (fresh)
          add_row(*law, counts, loads.tokens_per_source);
        else
          repeat_row(known->second);
      }
  }
}

void VisitTable::add_row(VisitLaw& law, std::span<const std::int32_t> counts, std::int64_t tokens) {
  std::vector<std::int32_t> visits;
  law.choose(counts, tokens);
  law.visits(parts_.ep, visits);
  members_.insert(members_.end(), visits.begin(), visits.end());
  const auto of_members = std::span(members_).last(visits.size());
  law.visits(parts_.nodes(), visits);
  // Each was rounded by itself.
  for (std::size_t node = 0; node < visits.size(); ++node) {
    const auto first = of_members.begin() + static_cast<std::ptrdiff_t>(node) * parts_.on_node;
    const auto last = first + parts_.on_node;
    visits[node] = std::clamp(visits[node], *std::max_element(first, last), std::accumulate(first, last, 0));
  }
  nodes_.insert(nodes_.end(), visits.begin(), visits.end());
}

void VisitTable::repeat_row(std::size_t row) {
  const auto repeat = [row](std::vector<std::int32_t>& table, int width) {
    const auto size = static_cast<std::size_t>(width);
    table.resize(table.size() + size);
    std::copy_n(table.begin() + static_cast<std::ptrdiff_t>(row * size), size, table.end() - width);
  };
  repeat(members_, parts_.ep);
  repeat(nodes_, parts_.nodes());
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
