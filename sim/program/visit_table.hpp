// Tokens that travel once for every part of the EP group that they visit, instead of once for every expert: how many, by source.
//
// A token visits an EP member when it chose at least one of its experts, and a node when it visits one of the run of
// `on_node` consecutive members that stand there (ParallelSizes::ep_on_node). With one hop it is sent to each member that it
// visits. With two (1 < on_node < ep) it is sent once to each node, to the member with the source's place in its run, and from
// there to each member of the node that it visits.
// Example, EP 4 on nodes of 2, a token of member 0 for experts of members 1, 2 and 3: across the nodes to itself and to member 2;
// inside them from 0 to 1, and from 2 to itself and to 3. Two rows on the first hop, three on the second.
//
// The numbers come from counts by expert through VisitLaw: an estimate, unless a token has one expert.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <tuple>
#include <vector>

#include "sim/plan/expert_slots.hpp"
#include "sim/program/gate_groups.hpp"
#include "sim/program/tensor.hpp"

namespace moesim {

struct RoutedLoads;
class VisitLaw;

// How an EP group is divided for tokens that visit it.
struct VisitParts {
  int ep = 1;
  int on_node = 1;
  auto operator<=>(const VisitParts&) const = default;
  [[nodiscard]] bool two_hops() const { return on_node > 1 && on_node < ep; }
  [[nodiscard]] int nodes() const { return ep / on_node; }
};

// Rows of one rank on the way (RowSource); of several ranks or layers the most or the least of each.
struct VisitRows {
  std::int64_t spread = 0;        // rows that it sends for its own tokens, on the first hop or the only one
  std::int64_t relayed = 0;       // tokens that reach it to be handed on
  std::int64_t relay_spread = 0;  // rows that it sends for those
  std::int64_t visiting = 0;      // tokens with a copy for one of its experts
  [[nodiscard]] std::int64_t of(RowSource source) const;  // 0 for rows of another kind
};
[[nodiscard]] VisitRows most_of(const VisitRows& a, const VisitRows& b);
[[nodiscard]] VisitRows least_of(const VisitRows& a, const VisitRows& b);

class VisitTable {
 public:
  VisitTable(const RoutedLoads& loads, const VisitParts& parts, const GateGroups& groups, const ExpertSlots& slots);

  [[nodiscard]] const VisitParts& parts() const { return parts_; }
  // Tokens of a source that visit each member, and each node; those of a node are at most the sum over its members and at least
  // the most of one.
  [[nodiscard]] std::span<const std::int32_t> of_members(int layer, int variant, int source) const {
    return row_of(members_, parts_.ep, layer, variant, source);
  }
  [[nodiscard]] std::span<const std::int32_t> of_nodes(int layer, int variant, int source) const {
    return row_of(nodes_, parts_.nodes(), layer, variant, source);
  }

 private:
  void add_row(VisitLaw& law, std::span<const std::int32_t> counts, std::int64_t tokens);
  void repeat_row(std::size_t row);  // an earlier one
  [[nodiscard]] std::span<const std::int32_t> row_of(const std::vector<std::int32_t>& table, int width, int layer,
                                                     int variant, int source) const {
    const std::size_t row = (static_cast<std::size_t>(layer % layers_) * static_cast<std::size_t>(variants_) +
                             static_cast<std::size_t>(variant)) *
                                static_cast<std::size_t>(sources_) +
                            static_cast<std::size_t>(source % sources_);
    return std::span(table).subspan(row * static_cast<std::size_t>(width), static_cast<std::size_t>(width));
  }

  VisitParts parts_;
  int layers_ = 1;  // that differ: of balanced loads one stands for all
  int variants_ = 1;
  int sources_ = 1;
  std::vector<std::int32_t> members_;
  std::vector<std::int32_t> nodes_;
};

// Tables of one RoutedLoads, each worked out when it is first asked for and shared by all plans of a search that divide the EP group
// alike. A copy of the loads, whose counts may be made others, begins with none.
class VisitCache {
 public:
  VisitCache() = default;
  VisitCache(const VisitCache&) {}
  VisitCache(VisitCache&&) noexcept {}
  VisitCache& operator=(const VisitCache&) {
    tables_.clear();
    return *this;
  }
  VisitCache& operator=(VisitCache&&) noexcept {
    tables_.clear();
    return *this;
  }
  ~VisitCache() = default;

  [[nodiscard]] std::shared_ptr<const VisitTable> table(const RoutedLoads& loads, const VisitParts& parts,
                                                        const GateGroups& groups, const ExpertSlots& slots) const;

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::tuple<VisitParts, GateGroups, std::vector<std::vector<std::int32_t>>>,
                   std::shared_ptr<const VisitTable>>
      tables_;
};

// The same loads for tokens that travel once for every part that they visit. The same object where they visit one part only.
[[nodiscard]] std::shared_ptr<const RoutedLoads> with_visits(std::shared_ptr<const RoutedLoads> loads,
                                                             const VisitParts& parts, const GateGroups& groups,
                                                             const ExpertSlots& slots);

// Visits of one rank's tokens on average over the parts, where every expert is chosen equally often.
struct BalancedVisits {
  std::int64_t of_members = 0;  // sum over the members
  std::int64_t of_nodes = 0;
};
[[nodiscard]] BalancedVisits balanced_visits(std::int64_t experts, std::int64_t top_k, std::int64_t tokens,
                                             const VisitParts& parts, const GateGroups& groups);

constexpr std::string_view kVisitsNote =
    "how many tokens visit a rank or a node is estimated from how often each expert was chosen (docs/schedules.md, "
    "deepep)";

}  // namespace moesim
