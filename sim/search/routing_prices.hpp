// What the operations that depend on the gate cost, layer by layer: most of the work of tabling a model with a recorded
// trace, and the same for all plans whose EP x ESP groups see the same loads. With the search's rank order that is so
// when tokens per source, EP, ESP, the ranks of a stage, the division of copies, the number of shadowed
// experts, whether and over which nodes tokens visit, and the algorithm of the exchange agree; TP, CP, micro-batch and recomputation may differ.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "sim/program/group_loads.hpp"
#include "sim/program/program.hpp"

namespace moesim {

class RoutingPrices {
 public:
  // Of the busiest class of groups in stage 0. Every layout this serves later must put those groups on the same ranks.
  // `own`: what each rank's own tokens choose; `loads`: what the schedule makes of it (copy_division.hpp).
  RoutingPrices(const Layout& layout, std::shared_ptr<const RoutedLoads> own, std::shared_ptr<const RoutedLoads> loads);
  RoutingPrices(const RoutingPrices&) = delete;  // pieces refer to the group
  RoutingPrices& operator=(const RoutingPrices&) = delete;

  [[nodiscard]] const std::shared_ptr<const RoutedLoads>& own() const { return own_; }
  [[nodiscard]] const std::shared_ptr<const RoutedLoads>& loads() const { return loads_; }
  // The group's ranks, [i * esp + j].
  [[nodiscard]] const std::vector<RankId>& ranks() const { return ranks_; }
  [[nodiscard]] const GroupLoads* group() const { return group_ ? &*group_ : nullptr; }
  [[nodiscard]] const GroupLoads& loads_of(const RowPiece& piece) {
    return pieces_->of(piece);
  }  // where there is a group

  [[nodiscard]] PieceLoads* pieces() { return pieces_ ? &*pieces_ : nullptr; }  // null: no group

  // Seconds of this operation by model layer, negative where not known yet. The reference stays good.
  [[nodiscard]] std::vector<double>& seconds(const Op& op, const Chunk& chunk, int layers);

 private:
  // An operation by its group, its name, the width and type of what it reads and writes, how many operands that are each, its part
  // in a larger kernel and the columns of its weight; its rows come from the loads.
  using Key = std::tuple<OpKind, GroupKind, const char*, std::int64_t, DType, std::int64_t, DType, RowPiece, int,
                         Fusion, std::int8_t>;

  std::shared_ptr<const RoutedLoads> own_;
  std::shared_ptr<const RoutedLoads> loads_;
  std::vector<RankId> ranks_;
  std::optional<GroupLoads> group_;
  std::optional<PieceLoads> pieces_;
  std::map<Key, std::vector<double>> seconds_;
};

}  // namespace moesim
