#include "exec/run/routing_state.hpp"

#include <numeric>

#include "sim/program/copy_division.hpp"

namespace moesim {

std::int64_t RoutingState::routed(const RowPiece& piece) const { return first_routed(ep, piece); }

std::int64_t RoutingState::gated() const {
  return std::accumulate(gated_counts.begin(), gated_counts.end(), std::int64_t{0});
}

std::int64_t RoutingState::share(int of) const {
  std::int64_t sum = 0;
  for (const std::int32_t count : gated_counts) sum += share_of(count, of, sharers);
  return sum;
}

std::vector<std::int64_t> RoutingState::rows_by_sharer() const {
  std::vector<std::int64_t> rows;
  for (int of = 0; of < sharers; ++of)
    for (const std::int32_t count : gated_counts) rows.push_back(share_of(count, of, sharers));
  return rows;
}

std::int64_t RoutingState::sent(int from, int to, int shard, const RowPiece& piece) const {
  std::int64_t sum = 0;
  for (std::int64_t e = to * local_experts(); e < (to + 1) * local_experts(); ++e) sum += count(from, shard, e, piece);
  return sum;
}

std::int64_t RoutingState::first_routed(int to, const RowPiece& piece) const {
  std::int64_t sum = 0;
  for (std::int64_t e = 0; e < to * local_experts(); ++e) sum += own(e, piece);
  return sum;
}

std::vector<std::int64_t> RoutingState::rows_by_piece(CutBy by, int pieces) const {
  std::vector<std::int64_t> rows;
  for (int index = 0; index < pieces; ++index)
    for (std::int64_t e = 0; e < experts; ++e)
      rows.push_back(own(e, {by, static_cast<std::int16_t>(index), static_cast<std::int16_t>(pieces)}));
  if (!shadows.empty())  // behind the pieces that travel
    for (std::int64_t e = 0; e < experts; ++e) rows.push_back(own(e, {CutBy::kShadow, 0, 1}));
  return rows;
}

std::int64_t RoutingState::arrived(int shard, const RowPiece& piece) const {
  std::int64_t sum = 0;
  for (int from = 0; from < ep; ++from) sum += sent(from, i, shard, piece);
  return sum;
}

std::int64_t RoutingState::arrived_shards(const RowPiece& piece) const {
  if (path == CopyPath::kNotAtAll) return gated();
  if (path == CopyPath::kShardsApart) return arrived(j, piece);
  std::int64_t sum = 0;
  for (int shard = 0; shard < esp; ++shard) sum += arrived(shard, piece);
  return sum;
}

std::vector<std::int64_t> RoutingState::rows_by_source(const RowPiece& piece) const {
  std::vector<std::int64_t> rows;
  const auto append = [&](int from, int shard) {
    for (std::int64_t e = i * local_experts(); e < (i + 1) * local_experts(); ++e)
      rows.push_back(count(from, shard, e, piece));
  };
  if (path == CopyPath::kToEveryShard) {
    for (const Member& member : members) append(member.i, member.j);
    return rows;
  }
  for (int shard = 0; shard < esp; ++shard) {
    if (path == CopyPath::kShardsApart && shard != j) continue;
    for (int from = 0; from < ep; ++from) append(from, shard);
  }
  return rows;
}

std::vector<std::int64_t> RoutingState::rows_by_source_of_pieces(CutBy by, int pieces) const {
  std::vector<std::int64_t> all;
  for (int index = 0; index < pieces; ++index) {
    const auto rows = rows_by_source({by, static_cast<std::int16_t>(index), static_cast<std::int16_t>(pieces)});
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

std::vector<std::int64_t> RoutingState::expert_row_counts(const RowPiece& piece) const {
  if (path == CopyPath::kNotAtAll) return {gated_counts.begin(), gated_counts.end()};
  if (piece.by == CutBy::kShadow) {
    std::vector<std::int64_t> rows;
    for (std::int64_t e = 0; e < experts; ++e)
      if (rows_in_piece(piece, 1, i, i, ep, shadow(e)) > 0) rows.push_back(own(e, piece));
    return rows;
  }
  const std::vector<std::int64_t> by_source = rows_by_source(piece);
  const auto local = static_cast<std::size_t>(local_experts());
  std::vector<std::int64_t> rows(local, 0);
  for (std::size_t k = 0; k < by_source.size(); ++k) rows[k % local] += by_source[k];
  return rows;
}

}  // namespace moesim
