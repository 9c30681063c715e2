// The expert loads of one EP x ESP group of ranks: who computes how many rows, who sends how much to whom.
//
// A group has ep * esp ranks; rank (i, j) holds shard j of the experts [i*E/ep, (i+1)*E/ep) and is itself a source. The
// all-to-all runs over the ep ranks with equal j; the esp ranks with equal i then share what arrived.
// Conservation: the rows that arrive in a group are the rows routed by its sources, each once. Where shards are apart
// (RoutedLoads::shards_apart) every shard gets all copies from the ranks (i, j) of its own, which are alike for all j.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "sim/plan/layout.hpp"
#include "sim/program/routed_loads.hpp"
#include "sim/program/row_piece.hpp"

namespace moesim {

class GroupLoads {
 public:
  // `sources[i * esp + j]` is the load-table source of rank (i, j).
  GroupLoads(const RoutedLoads& loads, std::vector<int> sources, int ep, int esp);

  // The same group with the copies of one piece alone.
  [[nodiscard]] GroupLoads cut(const RowPiece& piece) const;

  [[nodiscard]] int ep() const { return ep_; }
  [[nodiscard]] int esp() const { return esp_; }
  [[nodiscard]] int variants() const { return loads_->variants; }
  // Token copies that the gate of rank (i, j) makes.
  [[nodiscard]] std::int64_t gated(int layer, int variant, int i, int j) const;
  // Token copies that rank (i, j) sends in all.
  [[nodiscard]] std::int64_t routed(int layer, int variant, int i, int j) const {
    return routed_[rank_slot(layer, variant, i, j)];
  }
  // Token copies that reach rank (i, j) over its EP group.
  [[nodiscard]] std::int64_t arrived(int layer, int variant, int i, int j) const {
    return arrived_[rank_slot(layer, variant, i, j)];
  }
  // Rows of each local expert of EP member i, after the shards have shared them, or of one shard where shards are apart.
  [[nodiscard]] std::span<const std::int64_t> expert_rows(int layer, int variant, int i) const;
  [[nodiscard]] std::int64_t arrived_shards(int layer, int variant, int i) const;
  // Rows of each expert that EP member i computes: of its own experts, none of which is shadowed, and then of each shadowed one
  // the copies that it has itself.
  [[nodiscard]] std::vector<std::int64_t> computed_rows(int layer, int variant, int i) const;
  [[nodiscard]] std::int64_t computed(int layer, int variant, int i) const;  // their sum
  // Copies of rank (i, j) for each shadowed expert of the piece.
  void shadow_rows(int layer, int variant, int i, int j, const RowPiece& piece, std::vector<std::int64_t>& rows) const;
  // Token copies from EP member `from` to `to` among the ranks of shard j; row-major ep x ep. Worked out on each call: for
  // 256 ranks and 58 layers the matrices together would take 100 MB.
  void send_matrix(int layer, int variant, int j, std::vector<std::int64_t>& matrix) const;
  // Where tokens travel once for every part that they visit (visit_table.hpp), of EP member i; there are no shards then.
  [[nodiscard]] bool visited() const { return loads_->visits != nullptr; }
  [[nodiscard]] VisitRows visits(int layer, int variant, int i) const {  // all 0 where copies travel
    return visited() ? visits_[slot(layer, variant) * static_cast<std::size_t>(ep_) + static_cast<std::size_t>(i)]
                     : VisitRows();
  }
  // Tokens from one to the other in a group of the kind that EP member i belongs to: kEp, or kEpAcross and kEpInside; row-major.
  void visit_matrix(int layer, int variant, GroupKind group, int i, std::vector<std::int64_t>& matrix) const;
  // The same between all ranks of the group when every shard gets its own: row-major, rank (i, j) at i * esp + j.
  void send_matrix_to_shards(int layer, int variant, std::vector<std::int64_t>& matrix) const;

 private:
  [[nodiscard]] std::size_t slot(int layer, int variant) const {
    return static_cast<std::size_t>(layer) * static_cast<std::size_t>(loads_->variants) +
           static_cast<std::size_t>(variant);
  }
  [[nodiscard]] std::size_t rank_slot(int layer, int variant, int i, int j) const {
    return slot(layer, variant) * sources_.size() + static_cast<std::size_t>(i * esp_ + j);
  }
  [[nodiscard]] std::span<const std::int32_t> source_row(int layer, int variant, int i, int j) const {
    return loads_->row(layer, variant, sources_[static_cast<std::size_t>(i * esp_ + j)]);
  }

  void count_visits(int layers);  // of the first so many

  std::shared_ptr<const RoutedLoads> cut_;  // of a piece, its table
  const RoutedLoads* loads_;
  std::vector<int> sources_;
  int ep_;
  int esp_;
  int local_;                              // experts per EP member
  std::vector<std::int64_t> expert_rows_;  // [slot][expert]
  std::vector<std::int64_t> routed_;       // [slot][i][j]
  std::vector<std::int64_t> arrived_;      // [slot][i][j]
  std::vector<VisitRows> visits_;          // [slot][i], where tokens travel once for every part that they visit
};

// The loads of a group and of its pieces, each worked out when it is first asked for.
class PieceLoads {
 public:
  explicit PieceLoads(const GroupLoads& whole) : whole_(whole) {}
  [[nodiscard]] const GroupLoads& whole() const { return whole_; }
  [[nodiscard]] const GroupLoads& of(const RowPiece& piece);

 private:
  const GroupLoads& whole_;
  std::map<RowPiece, GroupLoads> pieces_;
};

// Groups of a stage that see the same loads are played once: each class names the groups it stands for.
struct LoadClass {
  std::vector<int> sources;               // load-table source of each (i, j)
  std::vector<std::vector<int>> members;  // per group: stage-local positions of its ranks, [i * esp + j]
  std::int64_t expert_work = 0;           // sum over layers and micro-batches of the busiest rank's rows
};
// Sorted by expert_work, most first. A model without routed experts has one class.
[[nodiscard]] std::vector<LoadClass> load_classes(const Layout& layout, const RoutedLoads& loads);

}  // namespace moesim
