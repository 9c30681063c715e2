// Tokens that travel once for every rank or node that they visit (visit_table.hpp), in the words of one layer.
#include "sim/lower/moe_layer_builder.hpp"
#include "sim/program/visit_table.hpp"

namespace moesim {

MoeLayerBuilder::VisitCounts MoeLayerBuilder::visit_counts() const {
  const VisitParts parts{plan().sizes().ep, plan().sizes().ep_on_node};
  const BalancedVisits sums =
      balanced_visits(shape_.experts, shape_.top_k, tokens_, parts, {shape_.groups, shape_.top_groups});
  return {{tokens_},
          {parts.two_hops() ? sums.of_nodes : sums.of_members, RowSource::kSpread},
          {sums.of_nodes, RowSource::kRelayed},
          {sums.of_members, RowSource::kRelaySpread},
          {sums.of_members, RowSource::kVisiting},
          parts.two_hops()};
}

GatedTokens MoeLayerBuilder::visit(TensorId x, TensorId gate) {
  const VisitCounts rows = visit_counts();
  if (!rows.two_hops)
    return b_.dispatch_visits("moe.dispatch", b_.spread("moe.spread", {x, gate}, rows.spread), rows.visiting,
                              GroupKind::kEp, Stream::kEp);
  const int count = pieces_of(b_.tensor(x).columns);
  std::vector<GatedTokens> pieces;
  if (count == 1) {
    pieces.push_back({x, gate});
  } else {
    for (const TensorId piece : b_.split_columns("moe.split_tokens", x, count)) pieces.push_back({piece, {}});
    pieces.front().gate = gate;  // what is needed to go on travels first
  }
  for (GatedTokens& piece : pieces) piece = b_.spread("moe.spread", piece, rows.spread);
  for (GatedTokens& piece : pieces)
    piece = b_.dispatch_visits("moe.dispatch", piece, rows.relayed, GroupKind::kEpAcross, Stream::kEp);
  for (GatedTokens& piece : pieces)
    piece = b_.dispatch_visits("moe.hand_on", b_.spread("moe.relay", piece, rows.relay_spread), rows.visiting,
                               GroupKind::kEpInside, Stream::kEpInside);
  if (count == 1) return pieces.front();
  std::vector<TensorId> columns;
  for (const GatedTokens& piece : pieces) columns.push_back(piece.tokens);
  return {b_.join_columns("moe.join_tokens", columns), pieces.front().gate};
}

TensorId MoeLayerBuilder::return_visits(TensorId y) {
  const VisitCounts rows = visit_counts();
  if (!rows.two_hops)
    return b_.sum_spread("moe.sum_spread",
                         b_.combine_visits("moe.combine", y, rows.spread, GroupKind::kEp, Stream::kEp), rows.own);
  const int count = pieces_of(b_.tensor(y).columns);
  std::vector<TensorId> pieces{y};
  if (count > 1) pieces = b_.split_columns("moe.split_results", y, count);
  for (TensorId& piece : pieces)
    piece = b_.combine_visits("moe.hand_back", piece, rows.relay_spread, GroupKind::kEpInside, Stream::kEpInside);
  for (TensorId& piece : pieces) {
    piece = b_.sum_spread("moe.sum_relay", piece, rows.relayed);
    piece = b_.combine_visits("moe.combine", piece, rows.spread, GroupKind::kEpAcross, Stream::kEp);
  }
  for (TensorId& piece : pieces) piece = b_.sum_spread("moe.sum_spread", piece, rows.own);
  return count == 1 ? pieces.front() : b_.join_columns("moe.join_results", pieces);
}

RoutedTokens MoeLayerBuilder::permute_visiting(const GatedTokens& visiting) {
  return b_.permute_visiting("moe.permute_local", visiting, tokens_ * shape_.top_k);
}

TensorId MoeLayerBuilder::unpermute_visiting(TensorId y, const GatedTokens& visiting) {
  return b_.unpermute_visiting("moe.unpermute_local", y, visiting);
}

}  // namespace moesim
