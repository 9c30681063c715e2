// The words in which a MoE schedule is written: the general operations of ChunkBuilder, bound to one layer.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include "sim/program/chunk_builder.hpp"

namespace moesim {

class MoeLayerBuilder {
 public:
  MoeLayerBuilder(ChunkBuilder& builder, const MoeShape& shape, CopyDivision division, int degree, int shadows)
      : b_(builder), shape_(shape), division_(division), degree_(degree), shadows_(shadows) {}

  [[nodiscard]] const MoeShape& shape() const { return shape_; }
  [[nodiscard]] const Plan& plan() const { return b_.plan(); }
  [[nodiscard]] int degree() const { return degree_; }    // pieces that copies are cut into
  [[nodiscard]] int shadows() const { return shadows_; }  // experts that are shadowed
  [[nodiscard]] std::int64_t local_experts() const {
    return plan().expert_slots.slots(shape_.experts) / plan().sizes().ep;
  }

  // Tokens of this rank's own out of the layer's input, and the layer's output out of theirs. With sequence parallelism they are
  // the same.
  TensorId own_tokens(TensorId x);
  TensorId return_own_tokens(TensorId y);
  // The tokens of the TP group, alike on its ranks. Without sequence parallelism they are the layer's input.
  TensorId group_tokens(TensorId x);
  TensorId return_group_tokens(TensorId y);
  // The tokens of all ranks of the ESP group, where the ranks of a TP group bring the same ones; gradients inside count each of
  // them once. And this rank's own of them.
  TensorId esp_tokens(TensorId x);
  TensorId return_esp_tokens(TensorId y);
  // The same where all that is done with them between here and there gives every rank of the group the same gradients, so that
  // none are summed; a gate on them counts its own once.
  TensorId esp_tokens_alike(TensorId x);
  TensorId gate_alike_on_esp(TensorId x);

  // Who goes where and with what weight, from the router: [tokens, 2 * top_k].
  TensorId gate(TensorId x);
  RoutedTokens permute(TensorId x, TensorId gate);  // token copies in the order of their experts
  // The tokens of all ranks of the EP x ESP group with what their gates chose, and of their copies those for the experts of this
  // rank; the partial sums of all ranks' tokens, each rank's own added up.
  struct GatheredTokens {
    TensorId tokens, gate;
  };
  GatheredTokens gather_everything(TensorId x, TensorId gate);
  RoutedTokens permute_local(const GatheredTokens& all);
  TensorId unpermute_local(TensorId y, const GatheredTokens& all);
  // Each token once to every rank that it visits, over the node that it visits where the plan has several EP members on one: then
  // in degree() pieces of columns, or as many as their number divides by, so that one piece goes on inside the node while the
  // next crosses between nodes. And what each rank made of its visitors back the same way, each token's parts added up.
  GatedTokens visit(TensorId x, TensorId gate);
  TensorId return_visits(TensorId y);
  RoutedTokens permute_visiting(const GatedTokens& visiting);  // copies for this rank's experts, in their order
  TensorId unpermute_visiting(TensorId y, const GatedTokens& visiting);
  RoutedTokens share_out(const RoutedTokens& x);  // of copies that the TP ranks made alike, this rank's share
  TensorId gather_shares(TensorId x);             // and all of them again, in the order of their experts
  // The way to the experts and back over EP x ESP with what shares need before and after, in degree() pieces of columns, or as many
  // as their number divides by: while one piece is gathered over TP the next is exchanged (Parm's SAA), here of the results, backwards of the gradients of the copies.
  RoutedTokens dispatch_shares(const RoutedTokens& x);
  TensorId combine_shares(TensorId x);
  // The copies in so many pieces, each on its way by itself (row_piece.hpp), and the results of all again.
  std::vector<RoutedTokens> cut(const RoutedTokens& x, CutBy by, int pieces);
  TensorId join(const std::vector<TensorId>& pieces);
  // Where experts are shadowed: copies that travel in so many pieces by distance (none where all are shadowed), and those that stay in
  // batches of experts, so that one batch is fetched while another is computed.
  struct CutCopies {
    std::vector<RoutedTokens> travelling, staying;
  };
  CutCopies cut_shadows(const RoutedTokens& x, int distances);
  std::vector<ExpertWeights> fetch_shadows(TensorId gate);  // for each batch, when the gate has chosen
  TensorId shadow_experts(const RoutedTokens& staying, const ExpertWeights& weights);
  RoutedTokens replicate(const RoutedTokens& x);                  // a copy for each shard of its expert
  RoutedTokens dispatch(const RoutedTokens& x, GroupKind group);  // to the ranks of their experts
  // The same, and the way back, in steps (ChunkBuilder::compress). A result on its way back has no weights.
  PackedTokens compress(const RoutedTokens& x, OpKind exchange, GroupKind group);
  PackedTokens exchange(const PackedTokens& x);
  PackedTokens depart(const RoutedTokens& x, OpKind exchange, GroupKind group);  // the first two
  RoutedTokens arrive(const PackedTokens& x);                                    // and the last
  RoutedTokens share(const RoutedTokens& x, GroupKind group);  // all-gather: every shard needs every copy
  RoutedTokens sort_by_expert(const RoutedTokens& x);          // needed when a rank holds several experts
  TensorId experts(const RoutedTokens& x);                     // the local experts' (shard of the) FFN, of every piece
  TensorId experts_of_arrived(const RoutedTokens& x);          // the same between that sort and its reverse
  // Pieces on their way to the experts, one after the other: each arrives, is computed and departs again over `group`.
  std::vector<PackedTokens> experts_under_way(const std::vector<PackedTokens>& pieces, GroupKind group);
  // The two halves of them: up to the activation, and what follows of all pieces together, by blocks of the result's columns.
  TensorId experts_up(const RoutedTokens& x);
  TensorId experts_down(TensorId activated, const ColumnBlock& block);
  TensorId sort_activated(TensorId x);  // by expert
  TensorId join_columns(const std::vector<TensorId>& blocks);
  [[nodiscard]] int column_blocks() const;       // degree(), or the next number below that divides the width
  void fuse(Fusion fusion) { b_.fuse(fusion); }  // operations from here on
  // The same where all shards have the same rows: summed over ESP, by an all-reduce inside the experts (Megatron's f and g).
  TensorId experts_summed(const RoutedTokens& x);
  TensorId sum_alike(TensorId x);  // partial results of shards that have the same rows, summed for all of them
  // Rows that arrived at one shard, for all shards of the group alike, and back to those that arrived here.
  RoutedTokens share_alike(const RoutedTokens& x);
  TensorId keep_own_rows(TensorId x);
  TensorId sort_by_source(TensorId x);
  TensorId sum_shards(TensorId x, GroupKind group);  // reduce-scatter of partial results
  TensorId combine(TensorId x, GroupKind group);     // back to the ranks the copies came from
  TensorId sum_replicas(TensorId x);                 // what the shards made of a copy, added up
  TensorId unpermute(TensorId x, TensorId gate);     // sum of each token's copies
  // The shared experts' contribution added to y, or y when the layer has none.
  TensorId add_shared_experts(TensorId y, TensorId x);

 private:
  // Of equal width, at most degree().
  [[nodiscard]] int pieces_of(std::int64_t columns) const {
    int pieces = degree_;
    while (columns % pieces != 0) --pieces;
    return pieces;
  }
  [[nodiscard]] GuestMatrices guests() const;
  [[nodiscard]] LinearShape up_shape() const;
  [[nodiscard]] LinearShape down_shape() const;
  // Rows of the ways there and back, in balance.
  struct VisitCounts {
    RowCount own, spread, relayed, relay_spread, visiting;
    bool two_hops = false;
  };
  [[nodiscard]] VisitCounts visit_counts() const;
  [[nodiscard]] int batches() const { return std::min(shadows_, kMostMoePieces); }

  ChunkBuilder& b_;
  const MoeShape& shape_;
  CopyDivision division_;
  int degree_;
  int shadows_;
  std::int64_t tokens_ = 0;  // rows of the gate's input
  TensorId up_, down_;       // weights of the experts, where a piece has met them
};

}  // namespace moesim
