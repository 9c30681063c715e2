#include "sim/engine/entity_pricer.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "sim/program/guest_traffic.hpp"

namespace moesim {
namespace {

// Ranks that share a port all run the same program, and every rank is played with a port of its own: its share is that of all of
// them together. Two ranks behind one NIC that use 0.4 of it each: 0.8, so that a second such operation finds it full.
void count_sharers(CommCost& cost, const GroupTopology& group) {
  if (group.size() < 2) return;
  for (int tier = 0; tier < group.tiers(); ++tier) {
    float& share = cost.port_share[static_cast<std::size_t>(tier)];
    share = std::min(1.0F, share * static_cast<float>(std::max(1, group.port_sharers(tier))));
  }
}

}  // namespace

EntityPricer::EntityPricer(const Program& program, const CostModel& costs, std::vector<RankId> group, PieceLoads* loads,
                           std::optional<int> member, int shard, int device)
    : program_(program),
      costs_(costs),
      group_(std::move(group)),
      pieces_(loads),
      loads_(loads != nullptr ? &loads->whole() : nullptr),
      member_(member),
      shard_(shard),
      device_(device),
      esp_(program.plan.sizes().esp) {
  rank_ = rank(member.value_or(0), shard);
  moe_index_ = program.model.moe_layer_numbers();
  if (loads_ == nullptr) return;
  busiest_.assign(static_cast<std::size_t>(program.model.moe_layer_count() * loads_->variants()), -1);
}

const GroupTopology& EntityPricer::topology(GroupKind kind) {
  const GroupTopology*& known = topologies_[static_cast<std::size_t>(kind)];
  if (known == nullptr) known = &costs_.topology(program_.layout->group(kind, rank_));
  return *known;
}

int EntityPricer::busiest_member(int moe_layer, int variant) {
  if (member_) return *member_;
  int& known = busiest_[static_cast<std::size_t>(moe_layer * loads_->variants() + variant)];
  if (known >= 0) return known;
  // By the time of the up-projection: quantisation to tiles can make fewer rows on more experts dearer.
  const MoeShape& shape = *program_.model.first_moe();
  Seconds longest(-1);
  for (int i = 0; i < loads_->ep(); ++i) {
    GroupedGemmWork work;
    const std::vector<std::int64_t> rows = loads_->computed_rows(moe_layer, variant, i);
    work.rows = rows;
    work.n = shape.expert.width / esp_;
    work.k = program_.model.hidden;
    work.type = program_.recipe.compute;
    const Seconds time = costs_.grouped_gemm(device_, work).time;
    if (time > longest) {
      longest = time;
      known = i;
    }
  }
  return known;
}

const GroupLoads& EntityPricer::loads_of(const RowPiece& piece) { return pieces_->of(piece); }

RoutedRows EntityPricer::routed_rows(const Op& op, const Chunk& chunk, int variant) {
  if (loads_ == nullptr || !op.layer.valid() || moe_index(op) < 0 || !depends_on_routing(op, chunk)) return {};
  const int layer = moe_index(op);
  const int i = busiest_member(layer, variant);
  const RowPiece piece = piece_of(op, chunk);
  const GroupLoads& loads = loads_of(piece);
  RoutedRows rows;
  if (piece.by == CutBy::kShadow) {
    loads_->shadow_rows(layer, variant, i, shard_, piece, shadow_rows_);
    rows.per_expert = shadow_rows_;
  } else {
    rows.per_expert = loads.expert_rows(layer, variant, i);
  }
  rows.arrived_shards = loads.arrived_shards(layer, variant, i);
  rows.visits = loads.visits(layer, variant, i);
  rows.gated = loads.gated(layer, variant, i, shard_);
  rows.routed = loads.routed(layer, variant, i, shard_);
  rows.routed_shards = rows.routed * esp_;
  if (esp_ == 1) {
    rows.arrived = rows.arrived_shards;
  } else {
    for (int j = 0; j < esp_; ++j)
      if (!member_ || j == shard_) rows.arrived = std::max(rows.arrived, loads.arrived(layer, variant, i, j));
  }
  return rows;
}

const ExchangeWork& EntityPricer::exchange_work(int layer, int variant, int j, const RowPiece& piece,
                                                const GroupTopology& group) {
  ExchangeLoads& of_piece = loads_of_shards_[piece];
  if (of_piece.empty()) of_piece.resize(busiest_.size() * static_cast<std::size_t>(esp_));
  auto& known = of_piece[static_cast<std::size_t>((layer * loads_->variants() + variant) * esp_ + j)];
  if (!known) {
    loads_of(piece).send_matrix(layer, variant, j, rows_);
    known = costs_.exchange_work(program_.plan.all_to_all, group, {rows_, loads_->ep()});
  }
  return *known;
}

// Between the ranks of a shard: the slowest shard counts where one entity stands for all.
CommCost EntityPricer::exchange_over_ep(int layer, int variant, const RowPiece& piece, Bytes row_bytes) {
  if (exchange_groups_.empty()) exchange_groups_.resize(static_cast<std::size_t>(esp_));
  CommCost worst;
  for (int j = 0; j < esp_; ++j) {
    if (member_ && j != shard_) continue;
    const GroupTopology*& group = exchange_groups_[static_cast<std::size_t>(j)];
    if (group == nullptr) {
      std::vector<RankId> ranks;
      for (int i = 0; i < loads_->ep(); ++i) ranks.push_back(rank(i, j));
      group = &costs_.topology(ranks);
    }
    CommCost cost = costs_.exchange(*group, exchange_work(layer, variant, j, piece, *group), row_bytes);
    count_sharers(cost, *group);
    if (cost.time > worst.time) worst = cost;
  }
  return worst;
}

// The groups of the kind that divide an EP group among them: itself, its runs or its places in them.
EntityPricer::VisitExchanges& EntityPricer::visit_exchanges(GroupKind kind) {
  VisitExchanges& exchanges = visits_[kind];
  if (!exchanges.groups.empty()) return exchanges;
  const int on_node = program_.plan.sizes().ep_on_node;
  const bool across = kind == GroupKind::kEpAcross;
  const bool inside = kind == GroupKind::kEpInside;
  const int groups = across ? on_node : inside ? loads_->ep() / on_node : 1;
  for (int g = 0; g < groups; ++g) {
    if (member_ && (across ? *member_ % on_node : inside ? *member_ / on_node : 0) != g) continue;
    VisitExchanges::Group group{inside ? g * on_node : g, nullptr, {}};
    std::vector<RankId> ranks;
    for (int k = 0; k < loads_->ep() / groups; ++k) ranks.push_back(rank(group.first + k * (across ? on_node : 1), 0));
    group.topology = &costs_.topology(ranks);
    group.works.resize(busiest_.size());
    exchanges.groups.push_back(std::move(group));
  }
  return exchanges;
}

// The slowest of the groups counts where one entity stands for all.
CommCost EntityPricer::exchange_visits(int layer, int variant, GroupKind kind, Bytes row_bytes) {
  CommCost worst;
  for (VisitExchanges::Group& group : visit_exchanges(kind).groups) {
    std::optional<ExchangeWork>& known = group.works[static_cast<std::size_t>(layer * loads_->variants() + variant)];
    if (!known) {
      loads_->visit_matrix(layer, variant, kind, group.first, rows_);
      known = costs_.exchange_work(program_.plan.all_to_all, *group.topology, {rows_, group.topology->size()});
    }
    CommCost cost = costs_.exchange(*group.topology, *known, row_bytes);
    count_sharers(cost, *group.topology);
    if (cost.time > worst.time) worst = cost;
  }
  return worst;
}

// Between all ranks of the group, every shard with its own copy.
CommCost EntityPricer::exchange_with_shards(int layer, int variant, const RowPiece& piece, Bytes row_bytes) {
  const GroupTopology& group = costs_.topology(group_);
  ExchangeLoads& of_piece = loads_to_shards_[piece];
  if (of_piece.empty()) of_piece.resize(busiest_.size());
  auto& known = of_piece[static_cast<std::size_t>(layer * loads_->variants() + variant)];
  if (!known) {
    loads_of(piece).send_matrix_to_shards(layer, variant, rows_);
    known = costs_.exchange_work(program_.plan.all_to_all, group, {rows_, loads_->ep() * esp_});
  }
  CommCost cost = costs_.exchange(group, *known, row_bytes);
  count_sharers(cost, group);
  return cost;
}

CommCost EntityPricer::token_exchange(const Op& op, const Chunk& chunk, int variant) {
  MOESIM_ASSERT(loads_ != nullptr);
  const int layer = moe_index(op);
  const std::int64_t row_bytes = token_row_bytes(op, chunk).count();
  const RowPiece piece = piece_of(op, chunk);
  const auto [entry, fresh] = exchanges_.try_emplace({layer, variant, op.group, piece, row_bytes});
  if (!fresh) return entry->second;
  if (loads_->visited()) return entry->second = exchange_visits(layer, variant, op.group, Bytes(row_bytes));
  entry->second = op.group == GroupKind::kEpEsp ? exchange_with_shards(layer, variant, piece, Bytes(row_bytes))
                                                : exchange_over_ep(layer, variant, piece, Bytes(row_bytes));
  return entry->second;
}

// Of an exchange of the same copies without bytes.
Seconds EntityPricer::exchange_start(const Op& op, const Chunk& chunk, int variant) {
  const int layer = moe_index(op);
  const RowPiece piece = piece_of(op, chunk);
  return op.group == GroupKind::kEpEsp ? exchange_with_shards(layer, variant, piece, Bytes(0)).time
                                       : exchange_over_ep(layer, variant, piece, Bytes(0)).time;
}

// A sum goes to its owner as a broadcast comes from there, or everybody gets it: what is sooner done.
CommCost EntityPricer::expert_transfer(const Op& op, const Chunk& chunk) {
  const GroupTopology& group = topology(op.group);
  const Bytes size = fetched_bytes(op, chunk);
  CommCost cost = costs_.collective(CollectiveKind::kBroadcast, group, size);
  if (op.kind == OpKind::kReturnExpertGrads) {
    const CommCost to_all = costs_.collective(CollectiveKind::kAllReduce, group, size);
    if (to_all.time < cost.time) cost = to_all;
  }
  const auto experts = static_cast<double>(fetched_experts(op, chunk));
  cost.time = cost.time * experts;
  for (double& bytes : cost.busiest_rank_bytes) bytes *= experts;
  count_sharers(cost, group);
  return cost;
}

// All weights of the bucket at once, the busiest port decides.
CommCost EntityPricer::guest_transfer(const Op& op) {
  const GroupTopology& group = topology(op.group);
  const std::vector<std::int64_t> bytes = guest_bytes(program_, op);
  if (std::ranges::all_of(bytes, [](std::int64_t n) { return n == 0; })) return {};  // nobody starts an empty message
  CommCost cost = costs_.all_to_all_v(group, {bytes, program_.plan.sizes().ep});
  count_sharers(cost, group);
  return cost;
}

PricedOp EntityPricer::price(const Op& op, const Chunk& chunk, int variant) {
  if (!is_communication(op.kind)) {
    const Cost cost = compute_cost(costs_, device_, op, chunk, program_.recipe, routed_rows(op, chunk, variant));
    return {cost.time, cost.extrapolated, {}, {}};
  }
  CommCost cost;
  if (op.kind == OpKind::kDispatch || op.kind == OpKind::kCombine) {
    if (op.fusion == Fusion::kAddressing) return {};
    cost = token_exchange(op, chunk, variant);
    if (op.fusion == Fusion::kPiece)  // it has begun with an earlier piece
      cost.time = std::max(Seconds(0), cost.time - exchange_start(op, chunk, variant));
  } else if (op.kind == OpKind::kFetchExperts || op.kind == OpKind::kReturnExpertGrads) {
    cost = expert_transfer(op, chunk);
  } else if (moves_guests(op)) {
    cost = guest_transfer(op);
  } else if (op.kind == OpKind::kSend || op.kind == OpKind::kReceive) {
    const RankId peer = program_.layout->group(GroupKind::kPp, rank_)[static_cast<std::size_t>(op.peer_stage)];
    const std::array<RankId, 2> pair = {rank_, peer};
    const GroupTopology& ends = costs_.topology(pair);
    cost = costs_.collective(CollectiveKind::kSendRecv, ends, collective_bytes(op, chunk, 2, {}));
    count_sharers(cost, ends);
  } else {
    const GroupTopology& group = topology(op.group);
    const Bytes size = collective_bytes(op, chunk, group.size(), routed_rows(op, chunk, variant));
    const CollectiveKind kind = collective_kind(op, program_.plan);
    cost = costs_.collective(kind, group, size, collective_algorithm(kind, program_.plan));
    count_sharers(cost, group);
  }
  return {cost.time, cost.extrapolated, cost.port_share, cost.busiest_rank_bytes};
}

Flops EntityPricer::flops(const Op& op, const Chunk& chunk, int variant) {
  return product_flops(op, chunk, routed_rows(op, chunk, variant));
}

}  // namespace moesim
