// Prices the operations of one stage for one rank, or for the role that a rank stands for.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "sim/engine/op_cost.hpp"
#include "sim/engine/replay_program.hpp"
#include "sim/program/group_loads.hpp"

namespace moesim {

struct PricedOp {
  Seconds time;
  bool extrapolated = false;
  std::array<float, kMaxTiers> port_share{};
  std::array<double, kMaxTiers> sent_bytes{};  // by the busiest rank, to ranks that it meets at each tier
};

class EntityPricer {
 public:
  // `group` holds the ranks of the EP x ESP group, [i * esp + j]. `member` is the EP member to price; nullopt prices, for
  // each layer and micro-batch, the member with the most expert work. `device` indexes the cluster's devices. `loads`, of this
  // group, may serve several pricers, one at a time; null: no layer has experts.
  EntityPricer(const Program& program, const CostModel& costs, std::vector<RankId> group, PieceLoads* loads,
               std::optional<int> member, int shard, int device);

  [[nodiscard]] PricedOp price(const Op& op, const Chunk& chunk, int variant);
  // Of the priced rank.
  [[nodiscard]] Flops flops(const Op& op, const Chunk& chunk, int variant);

 private:
  [[nodiscard]] RankId rank(int i, int j) const { return group_[static_cast<std::size_t>(i * esp_ + j)]; }
  [[nodiscard]] const GroupTopology& topology(GroupKind kind);
  [[nodiscard]] const GroupLoads& loads_of(const RowPiece& piece);
  [[nodiscard]] RoutedRows routed_rows(const Op& op, const Chunk& chunk, int variant);
  [[nodiscard]] int busiest_member(int moe_layer, int variant);
  [[nodiscard]] CommCost token_exchange(const Op& op, const Chunk& chunk, int variant);
  [[nodiscard]] Seconds exchange_start(const Op& op, const Chunk& chunk, int variant);
  [[nodiscard]] CommCost exchange_over_ep(int layer, int variant, const RowPiece& piece, Bytes row_bytes);
  [[nodiscard]] CommCost exchange_visits(int layer, int variant, GroupKind kind, Bytes row_bytes);
  [[nodiscard]] CommCost exchange_with_shards(int layer, int variant, const RowPiece& piece, Bytes row_bytes);
  [[nodiscard]] CommCost expert_transfer(const Op& op, const Chunk& chunk);
  [[nodiscard]] CommCost guest_transfer(const Op& op);
  [[nodiscard]] int moe_index(const Op& op) const { return moe_index_[op.layer.index()]; }

  const Program& program_;
  const CostModel& costs_;
  std::vector<RankId> group_;
  PieceLoads* pieces_;
  const GroupLoads* loads_;  // of whole copies
  std::optional<int> member_;
  int shard_;
  int device_;
  int esp_;
  RankId rank_;
  std::vector<int> moe_index_;  // by model layer
  std::array<const GroupTopology*, kGroupKinds> topologies_{};
  std::vector<const GroupTopology*> exchange_groups_;  // EP group of each shard
  std::vector<int> busiest_;                           // [moe_layer][variant], -1 unknown
  struct ExchangeKey {
    int layer;
    int variant;
    GroupKind group;
    RowPiece piece;
    std::int64_t row_bytes;
    auto operator<=>(const ExchangeKey&) const = default;
  };
  // Dispatch and combine of a layer carry the same rows with other bytes.
  [[nodiscard]] const ExchangeWork& exchange_work(int layer, int variant, int j, const RowPiece& piece,
                                                  const GroupTopology& group);

  std::map<ExchangeKey, CommCost> exchanges_;
  using ExchangeLoads = std::vector<std::optional<ExchangeWork>>;
  std::map<RowPiece, ExchangeLoads> loads_of_shards_;  // [moe_layer][variant][shard]
  std::map<RowPiece, ExchangeLoads> loads_to_shards_;  // [moe_layer][variant]
  // Groups of one kind, in which tokens travel once for every part that they visit.
  struct VisitExchanges {
    struct Group {
      int first;  // EP member
      const GroupTopology* topology;
      ExchangeLoads works;  // [moe_layer][variant]
    };
    std::vector<Group> groups;
  };
  [[nodiscard]] VisitExchanges& visit_exchanges(GroupKind kind);

  std::map<GroupKind, VisitExchanges> visits_;
  std::vector<std::int64_t> shadow_rows_;  // of the operation that is being priced
  std::vector<std::int64_t> rows_;         // a matrix of copies from rank to rank
};

}  // namespace moesim
