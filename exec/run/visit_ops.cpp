// Tokens that travel once for every part of the EP group that they visit: who goes where, and the way there and back.
#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "exec/run/op_table.hpp"

namespace moesim {
namespace {

bool is_of_visits(RowSource source) {
  switch (source) {
    case RowSource::kSpread:
    case RowSource::kRelayed:
    case RowSource::kRelaySpread:
    case RowSource::kVisiting: return true;
    default: return false;
  }
}

// Counts the visits of this rank's own tokens, and what their gate chose.
Status count_own(const OpContext& c, VisitState& visits, const MatrixView& probabilities) {
  RankContext& rank = c.rank();
  const MoeShape& moe = *c.layer().moe;
  const ParallelSizes& sizes = rank.program.plan.sizes();
  visits.parts = {sizes.ep, sizes.ep_on_node};
  visits.i = rank.at.ep;
  visits.own_counts.assign(static_cast<std::size_t>(sizes.ep + visits.parts.nodes()), 0);
  MOESIM_ASSIGN(const std::vector<std::int32_t> chosen, chosen_experts(c, probabilities));
  rank.choices.push_back({c.op().layer, c.micro_batch(), counts_of(chosen, moe.experts)});
  std::vector<std::int32_t> slots;
  if (!rank.slots.in_order()) slots = rank.slots.slots_of(rank.moe_layer_of[c.op().layer.index()]);
  const auto local = static_cast<std::int32_t>(moe.experts / sizes.ep);
  const auto k = static_cast<std::size_t>(moe.top_k);
  for (std::size_t token = 0; token < chosen.size(); token += k) {
    std::set<std::int32_t> parts;  // members, and nodes behind them
    for (std::size_t choice = token; choice < token + k; ++choice) {
      const std::int32_t expert = chosen[choice];
      const std::int32_t member = (slots.empty() ? expert : slots[static_cast<std::size_t>(expert)]) / local;
      parts.insert(member);
      parts.insert(sizes.ep + member / sizes.ep_on_node);
    }
    for (const std::int32_t part : parts) ++visits.own_counts[static_cast<std::size_t>(part)];
  }
  return {};
}

// Of the rows that came with this result of their gates, which go to each of `parts` parts of the slots from `first` on.
Status make_spread_map(const OpContext& c, SpreadMap& spread, const MatrixView& probabilities, std::int64_t parts,
                       std::int64_t first, std::int64_t part_slots) {
  RankContext& rank = c.rank();
  RoutingMap& map = spread.map;
  map.tokens = probabilities.rows;
  map.top_k = parts;
  map.experts = parts;
  map.first_expert = first;
  map.all_experts = c.layer().moe->experts;
  map.slots = slots_of_layer(c);
  map.chosen = c.layer().moe->top_k;
  map.part_slots = part_slots;
  MOESIM_ASSIGN(spread.part_rows, rank.staging.allocate(parts, DType::kInt32));
  MOESIM_ASSIGN(spread.row_of_copy, rank.staging.allocate(map.tokens * parts, DType::kInt32));
  MOESIM_ASSIGN(spread.copy_of_row, rank.staging.allocate(map.most_rows(), DType::kInt32));
  map.expert_rows = spread.part_rows->as<std::int32_t>();
  map.row_of_copy = spread.row_of_copy->as<std::int32_t>();
  map.copy_of_row = spread.copy_of_row->as<std::int32_t>();
  return rank.backend.build_routing(rank.stream, {probabilities, map});
}

// The first spread of a hop has the gate's result beside it; a repeated forward pass goes the same ways.
Status see_to_map(const OpContext& c, VisitState& visits, bool relays) {
  SpreadMap& spread = relays ? visits.relay : visits.own;
  if (spread.made()) return {};
  const MatrixView probabilities = c.in(1);
  if (!relays) {
    MOESIM_TRY(count_own(c, visits, probabilities));
  }
  const std::int64_t local = c.layer().moe->experts / visits.parts.ep;
  const int on_node = visits.parts.on_node;
  if (relays) return make_spread_map(c, spread, probabilities, on_node, visits.i / on_node * on_node * local, local);
  return visits.parts.two_hops() ? make_spread_map(c, spread, probabilities, visits.parts.nodes(), 0, on_node * local)
                                 : make_spread_map(c, spread, probabilities, visits.parts.ep, 0, local);
}

Status exchange_visits(const OpContext& c, CommTask& task) {
  const VisitState& visits = c.routing().visits;
  return exchange_rows(c, task, [&](std::size_t a, std::size_t b) {
    return visits.sent(c.op().group, static_cast<int>(a), static_cast<int>(b));
  });
}

}  // namespace

bool carries_visits(const OpContext& c) { return is_of_visits(c.tensor(c.op().inputs[0]).rows.source); }

Status run_spread(const OpContext& c) {
  VisitState& visits = c.routing().visits;
  const bool relays = c.tensor(c.op().outputs[0]).rows.source == RowSource::kRelaySpread;
  MOESIM_TRY(see_to_map(c, visits, relays));
  const RoutingMap& map = (relays ? visits.relay : visits.own).map;
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(operand));
    const bool of_gate = operand == 1;
    MOESIM_TRY(
        c.rank().backend.permute(c.rank().stream, {map, c.in(operand), std::nullopt, y.view, std::nullopt, of_gate}));
  }
  return {};
}

Status run_sum_spread(const OpContext& c) {
  const VisitState& visits = c.routing().visits;
  const bool relayed = c.tensor(c.op().inputs[0]).rows.source == RowSource::kRelaySpread;
  const RoutingMap& map = (relayed ? visits.relay : visits.own).map;
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    MOESIM_ASSIGN(const StoredTensor x, c.out(operand));
    MOESIM_TRY(c.rank().backend.unpermute(c.rank().stream, {map, c.in(operand), std::nullopt, x.view}));
  }
  return {};
}

Result<CommTask> start_visits(const OpContext& c) {
  RankContext& rank = c.rank();
  VisitState& visits = c.routing().visits;
  CommTask task;
  if (visits.known()) {
    MOESIM_TRY(exchange_visits(c, task));
    return task;
  }
  // Nobody knows yet how many come: the ranks tell each other first.
  const CommGroup& group = rank.group(GroupKind::kEp);
  const auto gathered =
      std::make_shared<std::vector<std::int32_t>>(visits.own_counts.size() * static_cast<std::size_t>(group.size()));
  task.requests.push_back(rank.comm.all_gather(group, channel_of(c.op().stream),
                                               std::as_bytes(std::span(visits.own_counts)),
                                               std::as_writable_bytes(std::span(*gathered))));
  task.then = [c, gathered](CommTask& next) -> Status {
    c.routing().visits.counts = *gathered;
    return exchange_visits(c, next);
  };
  return task;
}

}  // namespace moesim
