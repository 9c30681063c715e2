// Who of an EP x ESP group sends how many token copies to which expert, for one MoE layer and micro-batch; made when the gate has
// chosen, used by everything that moves or computes copies until the backward pass of the micro-batch is through.
//
// Rank (i, j) of the group holds shard j of the experts of EP member i. Either copies travel over EP among the ranks of a shard;
// what arrived is in the order of sources i, within one of experts. The ESP ranks then share it: in the order of j, then as it
// arrived. Or every shard gets its own copy from the source: in the order of the ranks of the group, within one of experts.
#pragma once

#include <cstdint>
#include <vector>

#include "exec/compute/routing_args.hpp"
#include "exec/run/device_memory.hpp"
#include "exec/run/visit_state.hpp"
#include "sim/plan/layout.hpp"
#include "sim/program/row_piece.hpp"

namespace moesim {

enum class CopyPath : std::uint8_t {
  kOverEp,        // to one shard, then shared by all
  kToEveryShard,  // to each shard from the source
  kShardsApart,   // to one shard, which computes these alone
  kNotAtAll,      // every rank has tokens of others and makes the copies for its own experts
};

struct RoutingState {
  RoutingMap map;  // points into the buffers
  BufferPtr expert_rows, row_of_copy, copy_of_row;
  BufferPtr statistics;                  // FP32 [2, experts] for the auxiliary loss, where there is one
  std::vector<std::int32_t> own_counts;  // copies that this rank sends, by expert
  // Copies that its gate made, by expert, and who shares them: `sharers` ranks, of which it is number `sharer`.
  std::vector<std::int32_t> gated_counts;
  int sharers = 1, sharer = 0;

  // The counts of all ranks of the group, [j][i][expert]; empty until they have been exchanged, or where no copies travel: then
  // gated_counts has those of this rank's experts.
  std::vector<std::int32_t> counts;
  int ep = 1, esp = 1;  // of the group
  int i = 0, j = 0;     // this rank
  // The ranks of the group in its order.
  struct Member {
    int i = 0, j = 0;
  };
  std::vector<Member> members;
  CopyPath path = CopyPath::kOverEp;
  std::vector<ShadowPlace> shadows;  // by expert; empty: none is shadowed
  std::int64_t experts = 0;          // slots, where some experts have several: each is then as good as an expert
  VisitState visits;                 // where tokens travel once for every part that they visit

  [[nodiscard]] bool known() const { return !counts.empty() || path == CopyPath::kNotAtAll; }
  [[nodiscard]] std::int64_t local_experts() const { return experts / ep; }
  [[nodiscard]] std::int64_t gated() const;                        // copies this rank's gate made
  [[nodiscard]] std::int64_t routed(const RowPiece& piece) const;  // copies this rank sends
  // Copies that a sharer sends, and by [sharer][expert].
  [[nodiscard]] std::int64_t share(int of) const;
  [[nodiscard]] std::vector<std::int64_t> rows_by_sharer() const;
  // Copies that EP member `from` sends to member `to` among the ranks of shard `shard`.
  [[nodiscard]] std::int64_t sent(int from, int to, int shard, const RowPiece& piece) const;
  // The first of this rank's rows that go to EP member `to`.
  [[nodiscard]] std::int64_t first_routed(int to, const RowPiece& piece) const;
  [[nodiscard]] std::int64_t routed_to(int to, const RowPiece& piece) const {
    return first_routed(to + 1, piece) - first_routed(to, piece);
  }
  // [piece][expert] of this rank's rows, for `pieces` pieces.
  [[nodiscard]] std::vector<std::int64_t> rows_by_piece(CutBy by, int pieces) const;
  // Copies that reach the member with shard `shard` of this rank's experts.
  [[nodiscard]] std::int64_t arrived(int shard, const RowPiece& piece) const;
  [[nodiscard]] std::int64_t arrived_shards(const RowPiece& piece) const;
  // By expert: what this rank computes of a piece, of its own experts or of shadowed ones.
  [[nodiscard]] std::vector<std::int64_t> expert_row_counts(const RowPiece& piece) const;
  // [source][local expert] of the rows before they are sorted by expert, sources in the order of arrival.
  [[nodiscard]] std::vector<std::int64_t> rows_by_source(const RowPiece& piece) const;

  // [piece][source and local expert], for `pieces` pieces.
  [[nodiscard]] std::vector<std::int64_t> rows_by_source_of_pieces(CutBy by, int pieces) const;

 private:
  // Of this rank's copies for an expert, those in the piece.
  [[nodiscard]] std::int64_t own(std::int64_t expert, const RowPiece& piece) const {
    return rows_in_piece(piece, own_counts[static_cast<std::size_t>(expert)], i,
                         static_cast<int>(expert / local_experts()), ep, shadow(expert));
  }
  [[nodiscard]] std::int64_t count(int from, int shard, std::int64_t expert, const RowPiece& piece) const {
    const std::int32_t rows = counts[static_cast<std::size_t>((shard * ep + from) * experts + expert)];
    return rows_in_piece(piece, rows, from, static_cast<int>(expert / local_experts()), ep, shadow(expert));
  }
  [[nodiscard]] ShadowPlace shadow(std::int64_t expert) const {
    return shadows.empty() ? ShadowPlace{} : shadows[static_cast<std::size_t>(expert)];
  }
};

}  // namespace moesim
