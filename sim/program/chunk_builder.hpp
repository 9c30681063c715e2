// Writes the forward pass of one chunk onto a tape; the backward pass is derived from it (adjoint.hpp).
//
// A schedule author uses only these calls. Each appends one operation and returns its result; sizes, dependencies and
// lifetimes follow from the operands. Every operation has its adjoint:
//   gemm <-> dgrad and wgrad, all_gather <-> reduce_scatter, dispatch <-> combine, permute <-> un-permute, ...
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

// What the ranks of a TP group hold of a weight.
enum class OnTp {
  kCut,   // each its part
  kSame,  // all of it, and outside the tensor-parallel region: the gradients are alike but for sequence parallelism
  kSameInside,  // all of it, and each rank sees the gradient of its own heads or tokens only
  kAlike,       // all of it, and every rank sees the whole gradient
};

// How a linear layer is spelt: X [rows, in] times W [in, out].
struct LinearShape {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t groups = 1;                // > 1 or expert: one matrix per local expert
  GuestMatrices guests = {};              // of an expert weight (Tensor)
  GroupKind replicas = GroupKind::kDpCp;  // kEdp marks expert weights
  bool bias = false;
  bool bias_on_every_shard = false;  // added after the shards' sum, so that none of it is cut
  bool high_precision = false;       // router and head stay out of FP8
  bool transposed = false;           // W is stored as [out, in]
  OnTp on_tp = OnTp::kCut;
  int tp_copies = 1;  // where TP cuts it: ranks that hold the same part
};

// The weights of norms on single query and key heads; 0 numbers: no norms.
struct HeadNorms {
  std::int64_t columns = 0;
  OnTp on_tp = OnTp::kSameInside;
  int tp_copies = 1;  // as of LinearShape
};

// Token copies on their way to the experts: rows of hidden width, and the gate's weight of each row.
struct RoutedTokens {
  TensorId tokens;
  TensorId weights;
};

// Tokens on their way to the ranks that they visit, with their rows of the gate's result; that is missing where it went with
// another piece of columns.
struct GatedTokens {
  TensorId tokens;
  TensorId gate;
};

// The same as they travel (wire_format.hpp): perhaps compressed, with scales where the format has them, for an exchange of this kind
// over this group.
struct PackedTokens {
  RoutedTokens rows;  // weights: none on the way back
  TensorId scales;
  OpKind exchange = OpKind::kDispatch;
  GroupKind group = GroupKind::kEp;
  DType computed = DType::kBf16;  // of the rows before
};

// How copies are cut where a layer has shadowed experts: `distances` pieces of those that travel, and the others in `batches` of
// experts (CutBy::kDistance and kShadow). `shadows` of `experts` are shadowed.
struct ShadowCut {
  int distances = 0;  // 0: all experts are shadowed
  int batches = 0;
  std::int64_t shadows = 0;
  std::int64_t experts = 1;
};

// Rows that are the same thing in both descriptions of a layer (ChunkBuilder::Pattern), cut in one way and in another: pieces in the
// order of a cut, or one that is the whole.
struct Recut {
  std::vector<TensorId> from, to;
  bool by_source = false;  // each piece is in the order of arrival; else in that of experts
};

// Two matrices of each of several experts.
struct ExpertWeights {
  TensorId up, down;
};

class ChunkBuilder {
 public:
  ChunkBuilder(const Plan& plan, const ModelShape& model, const Layout& layout, const PrecisionRecipe& recipe,
               Chunk& chunk);

  [[nodiscard]] const Plan& plan() const { return plan_; }
  [[nodiscard]] const ModelShape& model() const { return model_; }
  [[nodiscard]] const Layout& layout() const { return layout_; }
  [[nodiscard]] const PrecisionRecipe& recipe() const { return recipe_; }
  [[nodiscard]] LayerId layer() const { return layer_; }
  [[nodiscard]] const Tensor& tensor(TensorId id) const { return chunk_.tensors[id.index()]; }

  // All operations until the next call belong to this layer; its input is kept under full recomputation.
  void begin_layer(LayerId layer, TensorId input);
  void end_layer();

  // An activation that comes from outside the tape (received, or handed over by a chunk on the same stage).
  TensorId external(std::string_view name, RowCount rows, std::int64_t columns);

  TensorId embedding(std::int64_t tokens);
  // `weight_columns`: how many of the columns the norm covers; 0 for all.
  TensorId norm(std::string_view name, TensorId x, std::int64_t weight_columns = 0);
  TensorId linear(std::string_view name, TensorId x, const LinearShape& shape);
  // The same in two steps, for rows that meet one weight in several pieces.
  TensorId linear_weight(std::string_view name, const LinearShape& shape);
  TensorId linear(std::string_view name, TensorId x, const LinearShape& shape, TensorId weight,
                  const ColumnBlock& block = {});  // block: of an expert weight's columns
  // Positions, and norms before them.
  TensorId rotary(std::string_view name, TensorId qkv, const HeadNorms& norms);
  // A small parameter of its own (attention sinks, routing bias).
  TensorId parameter(std::string_view name, std::int64_t columns, OnTp on_tp);
  // `more`: gathered keys and values, or the gates of linear attention; may be invalid.
  TensorId attention(std::string_view name, TensorId qkv, TensorId more, std::int64_t out_columns,
                     const AttentionWork& work);
  TensorId activation(std::string_view name, TensorId x, bool gated);
  // The expert's activation also applies the gate's weight of each row, so that nothing need be kept for the combine.
  TensorId weighted_activation(std::string_view name, const RoutedTokens& x, bool gated);
  TensorId add(std::string_view name, TensorId a, TensorId b);
  // `bias`: what is added to the scores for the choice alone; may be invalid.
  TensorId top_k(std::string_view name, TensorId logits, std::int64_t k, TensorId bias = {});
  // `source`: kGated where the ranks of a group share the copies out, kArrivedShards for the copies of all ranks' tokens that go to
  // experts of this rank, else kRouted.
  RoutedTokens permute(std::string_view name, TensorId x, TensorId probabilities, std::int64_t top_k, RowSource source);
  TensorId unpermute(std::string_view name, TensorId y, TensorId probabilities, std::int64_t tokens);
  RoutedTokens sort_by_expert(std::string_view name, const RoutedTokens& y);
  TensorId sort_by_source(std::string_view name, TensorId y);
  TensorId all_gather(std::string_view name, TensorId x, GroupKind group, Stream stream);
  TensorId reduce_scatter(std::string_view name, TensorId x, GroupKind group, Stream stream);
  TensorId all_reduce(std::string_view name, TensorId x, GroupKind group, Stream stream);
  // Identity forward, all-reduce of the gradient backward (Megatron's f operator): the entry of a tensor-parallel region
  // without sequence parallelism.
  TensorId enter_replicated(std::string_view name, TensorId x, GroupKind group, Stream stream);
  // A copy, whose gradient counts so many times.
  TensorId scale_gradient(std::string_view name, TensorId x, float factor);
  RoutedTokens all_gather(std::string_view name, const RoutedTokens& x, GroupKind group, Stream stream);
  // Between a region where each rank of a group has rows of its own and one where all have the same rows and do the same with
  // them, or each its part of it and the sum thereafter, so that gradients are alike as well: no sums are due, and the two are
  // each other's adjoint. Of the copies that a gate made a rank takes its share of every expert's (copy_division.hpp) after
  // sort_by_share; of those that reached the shards of an expert its own.
  TensorId take_share(std::string_view name, TensorId x, GroupKind group);
  RoutedTokens take_share(std::string_view name, const RoutedTokens& x, GroupKind group);
  TensorId gather_shares(std::string_view name, TensorId x, GroupKind group, Stream stream);
  RoutedTokens gather_shares(std::string_view name, const RoutedTokens& x, GroupKind group, Stream stream);
  // Copies in the order of experts into that of the ranks that take them, and back.
  RoutedTokens sort_by_share(std::string_view name, const RoutedTokens& x);
  TensorId sort_shares_by_expert(std::string_view name, TensorId x);
  // Over kEp copies go to one shard of their expert. Over kEpEsp replicated copies go to every shard, and what the shards
  // made of them comes back to be summed.
  // Each is three operations where the plan names a format for the wire: compress, exchange, decompress. Schedules that cut
  // copies into pieces call them apart, so that one piece is on its way while another is decompressed.
  RoutedTokens dispatch(std::string_view name, const RoutedTokens& x, GroupKind group);
  TensorId dispatch(std::string_view name, TensorId x, GroupKind group);
  TensorId combine(std::string_view name, TensorId x, GroupKind group);
  PackedTokens compress(const RoutedTokens& x, OpKind exchange, GroupKind group);
  PackedTokens exchange(std::string_view name, const PackedTokens& x);
  RoutedTokens decompress(const PackedTokens& x);
  RoutedTokens replicate(std::string_view name, const RoutedTokens& x);
  TensorId replicate(std::string_view name, TensorId x);
  TensorId sum_replicas(std::string_view name, TensorId x);
  // Each row once for every part that it visits, and the sum of what it was spread to: each other's adjoint, and so are the ways
  // there and back (visit_table.hpp). `rows`: how many rows that gives. Rows of tokens and gates become copies for the experts of
  // this rank where they have arrived, so many in balance, and what was made of a row's copies is summed there.
  GatedTokens spread(std::string_view name, const GatedTokens& x, RowCount rows);
  TensorId sum_spread(std::string_view name, TensorId y, RowCount rows);
  GatedTokens dispatch_visits(std::string_view name, const GatedTokens& x, RowCount rows, GroupKind group,
                              Stream stream);
  TensorId combine_visits(std::string_view name, TensorId y, RowCount rows, GroupKind group, Stream stream);
  RoutedTokens permute_visiting(std::string_view name, const GatedTokens& x, std::int64_t copies);
  TensorId unpermute_visiting(std::string_view name, TensorId y, const GatedTokens& x);
  // So many pieces of equal width, at most kMostPieces; rows travel in pieces where one thing is to run beside another.
  static constexpr int kMostPieces = OperandList::kMost;
  std::vector<TensorId> split_columns(std::string_view name, TensorId x, int pieces);
  TensorId join_columns(std::string_view name, const std::vector<TensorId>& pieces);
  // Copies of this rank by piece (row_piece.hpp), at most kMostMoePieces of them; until they are joined each piece is exchanged and
  // computed by itself, so that one travels while another is computed.
  std::vector<TensorId> split_rows(std::string_view name, TensorId x, CutBy by, int pieces);
  std::vector<TensorId> split_rows(std::string_view name, TensorId x, const ShadowCut& cut);
  TensorId join_rows(std::string_view name, const std::vector<TensorId>& pieces);
  // To every rank of the EP group the weights of `experts` shadowed experts, a batch of the cut; `owned` are those of this rank's own
  // experts. Not before the gate has chosen. Backwards the copies' gradients go back to the owners, who add their sum.
  ExpertWeights fetch_experts(std::string_view name, const ExpertWeights& owned, TensorId gate, std::int64_t experts,
                              const RowPiece& batch);
  // Operations from here on are parts of larger kernels in this way.
  void fuse(Fusion fusion) { fusion_ = fusion; }
  // The head of a model whose embedding table is also its output matrix: on the chunk of the embedding without storage of its
  // own, elsewhere a second copy of the table.
  TensorId tied_linear(std::string_view name, TensorId x, std::int64_t out);
  // The loss is worked out in FP32, as Megatron-LM and torchtitan do: a copy of narrower logits is all that its gradient
  // keeps of them, and the gradient is made in its place.
  void loss(std::string_view name, TensorId logits);
  [[nodiscard]] TensorId loss_statistics() const { return loss_statistics_; }
  [[nodiscard]] TensorId loss_logits() const { return loss_logits_; }  // in FP32

  // One entry of the tape: the operation, and whether it only exists for its adjoint.
  struct Entry {
    Op op;
    bool forward = true;        // false: no forward operation (enter_replicated)
    float gradient_factor = 1;  // of kScale
    bool alike = false;         // of an all-gather: its result's gradient is the same on all ranks, so none are summed
    OpKind exchange = OpKind::kDispatch;  // of kCompress and kDecompress: what they are there for
  };
  [[nodiscard]] const std::vector<Entry>& tape() const { return tape_; }

  // A layer that its schedule describes twice, once in as many pieces as its forward pass has and once, the pattern, in as many as
  // its backward pass has. The first description is what is executed forward, the pattern what the backward pass is derived from.
  struct Pattern {
    std::size_t first = 0, last = 0;  // entries [first, last) of the tape that it stands in the place of
    std::vector<Entry> entries;
    std::vector<Recut> recuts;
  };
  struct Place {
    std::size_t entries = 0, tensors = 0;
    TensorId cast_source, cast_result;
  };
  [[nodiscard]] Place place() const { return {tape_.size(), chunk_.tensors.size(), cast_source_, cast_result_}; }
  // What was written since `first` is described again, with the same weights; and now it is through. `output`, `pattern_output`:
  // what the two give.
  void begin_pattern(const Place& first);
  void end_pattern(TensorId output, TensorId pattern_output);
  [[nodiscard]] const std::vector<Pattern>& patterns() const { return patterns_; }

  // Layer inputs, the tensors that full recomputation keeps.
  [[nodiscard]] const std::vector<TensorId>& layer_inputs() const { return layer_inputs_; }

  TensorId make(std::string_view name, TensorRole role, DType type, RowCount rows, std::int64_t columns,
                std::int64_t groups = 1, GroupKind replicas = GroupKind::kSelf);

 private:
  Op& record(OpKind kind, std::string_view name, OperandList inputs, OperandList outputs);
  TensorId weight_of_first(std::string_view name);
  TensorId small_weight(std::string_view name, std::int64_t columns, OnTp on_tp, int tp_copies = 1);
  void set_copies(TensorId weight, OnTp on_tp, int tp_copies);
  // `rows` arrive.
  PackedTokens travel(std::string_view name, const PackedTokens& x, RowCount rows, Stream stream);
  GatedTokens with_rows(const GatedTokens& x, RowCount rows);
  [[nodiscard]] static OperandList operands_of(const GatedTokens& x);
  RoutedTokens like(std::string_view name, const RoutedTokens& x, RowCount rows);
  TensorId in_order_of_pieces(std::string_view name, TensorId x, CutBy by, int pieces);
  std::vector<TensorId> split_into(std::string_view name, TensorId x, const std::vector<RowCount>& rows);
  TensorId to_compute_format(std::string_view name, TensorId x);
  [[nodiscard]] RowCount scaled_rows(RowCount rows, std::int64_t times, std::int64_t divided_by) const;
  [[nodiscard]] RowCount shared_rows(RowCount rows, GroupKind group) const;
  [[nodiscard]] RowCount gathered_rows(RowCount rows, GroupKind group) const;

  const Plan& plan_;
  const ModelShape& model_;
  const Layout& layout_;
  const PrecisionRecipe& recipe_;
  Chunk& chunk_;
  LayerId layer_;
  Fusion fusion_ = Fusion::kNone;
  TensorId cast_source_;  // the last tensor that was cast, so that two linears of one input share the copy
  TensorId cast_result_;
  TensorId loss_statistics_;
  TensorId loss_logits_;
  std::vector<Entry> tape_;
  std::vector<TensorId> layer_inputs_;
  std::vector<Pattern> patterns_;
  // While a pattern is written: where what it stands for begins, where it begins itself, and the weights that it has not met.
  std::optional<std::pair<Place, Place>> pattern_;
  std::vector<TensorId> weights_of_first_;
};

}  // namespace moesim
