#include "sim/program/chunk_builder.hpp"

#include "base/error.hpp"

namespace moesim {

ChunkBuilder::ChunkBuilder(const Plan& plan, const ModelShape& model, const Layout& layout,
                           const PrecisionRecipe& recipe, Chunk& chunk)
    : plan_(plan), model_(model), layout_(layout), recipe_(recipe), chunk_(chunk) {}

void ChunkBuilder::begin_layer(LayerId layer, TensorId input) {
  layer_ = layer;
  layer_inputs_.push_back(input);
}

void ChunkBuilder::end_layer() { layer_ = LayerId(); }

TensorId ChunkBuilder::make(std::string_view name, TensorRole role, DType type, RowCount rows, std::int64_t columns,
                            std::int64_t groups, GroupKind replicas) {
  if (role == TensorRole::kWeight && pattern_) return weight_of_first(name);
  chunk_.tensors.push_back(Tensor{name, role, type, rows, columns, groups, layer_, replicas});
  return TensorId(static_cast<std::int32_t>(chunk_.tensors.size()) - 1);
}

Op& ChunkBuilder::record(OpKind kind, std::string_view name, OperandList inputs, OperandList outputs) {
  Entry entry;
  entry.op.kind = kind;
  entry.op.layer = layer_;
  entry.op.name = name;
  entry.op.fusion = fusion_;
  entry.op.inputs = inputs;
  entry.op.outputs = outputs;
  tape_.push_back(entry);
  return tape_.back().op;
}

RowCount ChunkBuilder::scaled_rows(RowCount rows, std::int64_t times, std::int64_t divided_by) const {
  const RowCount scaled{rows.count * times / divided_by, rows.source, rows.piece};
  if (rows.source == RowSource::kFixed) return scaled;
  // Routed rows: sharing them over ESP makes them another quantity of the load table, not a multiple.
  if (times > 1) return {scaled.count, RowSource::kArrivedShards, rows.piece};
  if (divided_by > 1)
    return {scaled.count, plan_.sizes().ep > 1 ? RowSource::kArrived : RowSource::kRouted, rows.piece};
  return scaled;
}

TensorId ChunkBuilder::external(std::string_view name, RowCount rows, std::int64_t columns) {
  return make(name, TensorRole::kActivation, recipe_.activation, rows, columns);
}

TensorId ChunkBuilder::embedding(std::int64_t tokens) {
  const std::int64_t rows = padded_vocab(model_.vocab, plan_.sizes().tp) / plan_.sizes().tp;
  const TensorId table =
      make("embedding.table", TensorRole::kWeight, recipe_.weight == DType::kFp8 ? DType::kBf16 : recipe_.weight,
           {rows}, model_.hidden, 1, GroupKind::kDpCp);
  const TensorId out = make("embedding.out", TensorRole::kActivation, recipe_.activation, {tokens}, model_.hidden);
  record(OpKind::kEmbedding, "embedding", {table}, {out});
  if (model_.learned_positions > 0) {  // not cut over TP
    const TensorId positions = make("embedding.positions", TensorRole::kWeight, tensor(table).type,
                                    {model_.learned_positions}, model_.hidden, 1, GroupKind::kDpCp);
    set_copies(positions, OnTp::kSame, 1);
  }
  return out;
}

TensorId ChunkBuilder::small_weight(std::string_view name, std::int64_t columns, OnTp on_tp, int tp_copies) {
  const TensorId id = make(name, TensorRole::kWeight, recipe_.activation, {1}, columns, 1, GroupKind::kDpCp);
  set_copies(id, on_tp, tp_copies);
  return id;
}

void ChunkBuilder::set_copies(TensorId weight, OnTp on_tp, int tp_copies) {
  Tensor& tensor = chunk_.tensors[weight.index()];
  tensor.tp_copies = on_tp == OnTp::kCut ? tp_copies : plan_.sizes().tp;
  tensor.sums_over_tp =
      tensor.tp_copies > 1 && on_tp != OnTp::kAlike && (on_tp != OnTp::kSame || plan_.sequence_parallel);
}

TensorId ChunkBuilder::parameter(std::string_view name, std::int64_t columns, OnTp on_tp) {
  return small_weight(name, columns, on_tp);
}

TensorId ChunkBuilder::norm(std::string_view name, TensorId x, std::int64_t weight_columns) {
  const Tensor input = tensor(x);
  const std::int64_t covered = weight_columns > 0 ? weight_columns : input.columns;
  const TensorId weight = small_weight("norm.weight", covered * (model_.norm_bias ? 2 : 1), OnTp::kSame);
  const TensorId y = make(name, TensorRole::kActivation, recipe_.activation, input.rows, input.columns);
  record(OpKind::kNorm, name, {x, weight}, {y});
  return y;
}

TensorId ChunkBuilder::to_compute_format(std::string_view name, TensorId x) {
  const Tensor input = tensor(x);
  if (recipe_.compute != DType::kFp8 || input.type == DType::kFp8) return x;
  if (x == cast_source_) return cast_result_;
  cast_source_ = x;
  cast_result_ = make(name, TensorRole::kActivation, DType::kFp8, input.rows, input.columns);
  record(OpKind::kCast, "cast", {x}, {cast_result_});
  return cast_result_;
}

TensorId ChunkBuilder::linear(std::string_view name, TensorId x, const LinearShape& shape) {
  return linear(name, x, shape, linear_weight(name, shape));
}

TensorId ChunkBuilder::linear(std::string_view name, TensorId x, const LinearShape& shape, TensorId weight,
                              const ColumnBlock& block) {
  const bool expert = shape.replicas == GroupKind::kEdp;
  MOESIM_ASSERT(block.of == 1 || (expert && shape.out % block.of == 0));
  const TensorId operand = shape.high_precision ? x : to_compute_format(name, x);
  const TensorId y =
      make(name, TensorRole::kActivation, recipe_.activation, tensor(operand).rows, shape.out / block.of);
  record(expert ? OpKind::kGroupedGemm : OpKind::kGemm, name, {operand, weight}, {y}).columns = block;
  return y;
}

TensorId ChunkBuilder::linear_weight(std::string_view name, const LinearShape& shape) {
  const bool expert = shape.replicas == GroupKind::kEdp;
  const DType stored = shape.high_precision && recipe_.weight == DType::kFp8 ? DType::kBf16 : recipe_.weight;
  const RowCount rows{shape.transposed ? shape.out : shape.in};
  const std::int64_t columns = shape.transposed ? shape.in : shape.out;
  const TensorId weight = make(name, TensorRole::kWeight, stored, rows, columns, shape.groups, shape.replicas);
  chunk_.tensors[weight.index()].transposed = shape.transposed;
  chunk_.tensors[weight.index()].guests = shape.guests;
  if (!expert) set_copies(weight, shape.on_tp, shape.tp_copies);
  chunk_.tensors[weight.index()].fp8_operand = recipe_.compute == DType::kFp8 && !shape.high_precision;
  if (shape.bias) {
    const TensorId bias =
        make("linear.bias", TensorRole::kWeight, recipe_.activation, {1}, shape.out, shape.groups, shape.replicas);
    if (!expert) set_copies(bias, shape.bias_on_every_shard ? OnTp::kSame : shape.on_tp, shape.tp_copies);
    chunk_.tensors[bias.index()].guests = shape.guests;
    chunk_.tensors[bias.index()].same_on_esp = expert && shape.bias_on_every_shard;
  }
  return weight;
}

TensorId ChunkBuilder::rotary(std::string_view name, TensorId qkv, const HeadNorms& norms) {
  const Tensor input = tensor(qkv);
  OperandList inputs{qkv};
  if (norms.columns > 0)
    inputs.push_back(small_weight("attention.head_norm", norms.columns, norms.on_tp, norms.tp_copies));
  const TensorId y = make(name, TensorRole::kActivation, recipe_.activation, input.rows, input.columns);
  record(OpKind::kRotary, name, inputs, {y});
  return y;
}

TensorId ChunkBuilder::attention(std::string_view name, TensorId qkv, TensorId more, std::int64_t out_columns,
                                 const AttentionWork& work) {
  const TensorId y = make(name, TensorRole::kActivation, recipe_.activation, tensor(qkv).rows, out_columns);
  OperandList inputs{qkv};
  OperandList outputs{y};
  if (more.valid()) inputs.push_back(more);
  if (!work.linear)  // what the backward pass needs to make the scores' softmax again
    outputs.push_back(
        make("attention.log_sum_exp", TensorRole::kActivation, DType::kFp32, tensor(qkv).rows, work.heads));
  Op& op = record(OpKind::kAttention, name, inputs, outputs);
  op.attention = static_cast<std::int32_t>(chunk_.attentions.size());
  chunk_.attentions.push_back(work);
  return y;
}

TensorId ChunkBuilder::activation(std::string_view name, TensorId x, bool gated) {
  const Tensor input = tensor(x);
  const TensorId y =
      make(name, TensorRole::kActivation, recipe_.activation, input.rows, gated ? input.columns / 2 : input.columns);
  record(OpKind::kActivation, name, {x}, {y});
  return y;
}

TensorId ChunkBuilder::weighted_activation(std::string_view name, const RoutedTokens& x, bool gated) {
  const TensorId y = activation(name, x.tokens, gated);
  tape_.back().op.inputs.push_back(x.weights);
  return y;
}

TensorId ChunkBuilder::add(std::string_view name, TensorId a, TensorId b) {
  const Tensor input = tensor(a);
  const TensorId y = make(name, TensorRole::kActivation, input.type, input.rows, input.columns);
  record(OpKind::kAdd, name, {a, b}, {y});
  return y;
}

TensorId ChunkBuilder::top_k(std::string_view name, TensorId logits, std::int64_t k, TensorId bias) {
  const Tensor input = tensor(logits);
  const TensorId probabilities = make(name, TensorRole::kActivation, DType::kFp32, input.rows, 2 * k);  // weight and id
  OperandList inputs{logits};
  if (bias.valid()) inputs.push_back(bias);
  record(OpKind::kTopK, name, inputs, {probabilities});
  return probabilities;
}

RoutedTokens ChunkBuilder::permute(std::string_view name, TensorId x, TensorId probabilities, std::int64_t top_k,
                                   RowSource source) {
  const Tensor input = tensor(x);
  // For experts of this rank alone: of all that EP ranks gathered, its part.
  const int ranks = source == RowSource::kArrivedShards ? plan_.sizes().ep : 1;
  const RowCount rows{input.rows.count * top_k / ranks, source};
  const RoutedTokens y{make(name, TensorRole::kActivation, input.type, rows, input.columns),
                       make("gate.row_weight", TensorRole::kActivation, DType::kFp32, rows, 1)};
  record(OpKind::kPermute, name, {x, probabilities}, {y.tokens, y.weights});
  return y;
}

TensorId ChunkBuilder::unpermute(std::string_view name, TensorId y, TensorId probabilities, std::int64_t tokens) {
  const Tensor input = tensor(y);
  const TensorId x = make(name, TensorRole::kActivation, recipe_.activation, {tokens}, input.columns);
  record(OpKind::kUnpermute, name, {y, probabilities}, {x});
  return x;
}

RoutedTokens ChunkBuilder::like(std::string_view name, const RoutedTokens& x, RowCount rows) {
  const Tensor tokens = tensor(x.tokens);
  return {make(name, TensorRole::kActivation, tokens.type, rows, tokens.columns),
          make("gate.row_weight", TensorRole::kActivation, DType::kFp32, rows, 1)};
}

RoutedTokens ChunkBuilder::sort_by_expert(std::string_view name, const RoutedTokens& y) {
  const RoutedTokens sorted = like(name, y, tensor(y.tokens).rows);
  record(OpKind::kSortByExpert, name, {y.tokens, y.weights}, {sorted.tokens, sorted.weights});
  return sorted;
}

TensorId ChunkBuilder::sort_by_source(std::string_view name, TensorId y) {
  const Tensor input = tensor(y);
  const TensorId sorted = make(name, TensorRole::kActivation, input.type, input.rows, input.columns);
  record(OpKind::kSortByExpert, name, {y}, {sorted}).to_source = 1;
  return sorted;
}

RoutedTokens ChunkBuilder::all_gather(std::string_view name, const RoutedTokens& x, GroupKind group, Stream stream) {
  const RoutedTokens y = like(name, x, scaled_rows(tensor(x.tokens).rows, layout_.group_size(group), 1));
  Op& op = record(OpKind::kAllGather, name, {x.tokens, x.weights}, {y.tokens, y.weights});
  op.group = group;
  op.stream = stream;
  return y;
}

TensorId ChunkBuilder::all_gather(std::string_view name, TensorId x, GroupKind group, Stream stream) {
  const Tensor input = tensor(x);
  const TensorId y = make(name, TensorRole::kActivation, input.type,
                          scaled_rows(input.rows, layout_.group_size(group), 1), input.columns);
  Op& op = record(OpKind::kAllGather, name, {x}, {y});
  op.group = group;
  op.stream = stream;
  return y;
}

TensorId ChunkBuilder::reduce_scatter(std::string_view name, TensorId x, GroupKind group, Stream stream) {
  const Tensor input = tensor(x);
  const TensorId y = make(name, TensorRole::kActivation, input.type,
                          scaled_rows(input.rows, 1, layout_.group_size(group)), input.columns);
  Op& op = record(OpKind::kReduceScatter, name, {x}, {y});
  op.group = group;
  op.stream = stream;
  return y;
}

TensorId ChunkBuilder::all_reduce(std::string_view name, TensorId x, GroupKind group, Stream stream) {
  const Tensor input = tensor(x);
  const TensorId y = make(name, TensorRole::kActivation, input.type, input.rows, input.columns);
  Op& op = record(OpKind::kAllReduce, name, {x}, {y});
  op.group = group;
  op.stream = stream;
  return y;
}

TensorId ChunkBuilder::enter_replicated(std::string_view name, TensorId x, GroupKind group, Stream stream) {
  Op& op = record(OpKind::kAllReduce, name, {x}, {x});
  op.group = group;
  op.stream = stream;
  tape_.back().forward = false;
  return x;
}

RowCount ChunkBuilder::shared_rows(RowCount rows, GroupKind group) const {
  const std::int64_t count = rows.count / layout_.group_size(group);
  switch (rows.source) {
    case RowSource::kGated: return {count, RowSource::kRouted, rows.piece};
    case RowSource::kArrivedShards: return {count, RowSource::kArrived, rows.piece};
    default: return {count, rows.source, rows.piece};
  }
}

RowCount ChunkBuilder::gathered_rows(RowCount rows, GroupKind group) const {
  const std::int64_t count = rows.count * layout_.group_size(group);
  switch (rows.source) {
    case RowSource::kRouted: return {count, RowSource::kGated, rows.piece};
    case RowSource::kArrived: return {count, RowSource::kArrivedShards, rows.piece};
    default: return {count, rows.source, rows.piece};
  }
}

TensorId ChunkBuilder::take_share(std::string_view name, TensorId x, GroupKind group) {
  const Tensor input = tensor(x);
  const TensorId y = make(name, TensorRole::kActivation, input.type, shared_rows(input.rows, group), input.columns);
  record(OpKind::kTakeShare, name, {x}, {y}).group = group;
  return y;
}

RoutedTokens ChunkBuilder::take_share(std::string_view name, const RoutedTokens& x, GroupKind group) {
  const RoutedTokens y = like(name, x, shared_rows(tensor(x.tokens).rows, group));
  record(OpKind::kTakeShare, name, {x.tokens, x.weights}, {y.tokens, y.weights}).group = group;
  return y;
}

TensorId ChunkBuilder::gather_shares(std::string_view name, TensorId x, GroupKind group, Stream stream) {
  const Tensor input = tensor(x);
  const TensorId y = make(name, TensorRole::kActivation, input.type, gathered_rows(input.rows, group), input.columns);
  Op& op = record(OpKind::kAllGather, name, {x}, {y});
  op.group = group;
  op.stream = stream;
  tape_.back().alike = true;
  return y;
}

RoutedTokens ChunkBuilder::gather_shares(std::string_view name, const RoutedTokens& x, GroupKind group, Stream stream) {
  const RoutedTokens y = like(name, x, gathered_rows(tensor(x.tokens).rows, group));
  Op& op = record(OpKind::kAllGather, name, {x.tokens, x.weights}, {y.tokens, y.weights});
  op.group = group;
  op.stream = stream;
  tape_.back().alike = true;
  return y;
}

RoutedTokens ChunkBuilder::sort_by_share(std::string_view name, const RoutedTokens& x) {
  const RoutedTokens sorted = like(name, x, tensor(x.tokens).rows);
  record(OpKind::kSortByExpert, name, {x.tokens, x.weights}, {sorted.tokens, sorted.weights}).to_source = 1;
  return sorted;
}

TensorId ChunkBuilder::sort_shares_by_expert(std::string_view name, TensorId x) {
  const Tensor input = tensor(x);
  const TensorId sorted = make(name, TensorRole::kActivation, input.type, input.rows, input.columns);
  record(OpKind::kSortByExpert, name, {x}, {sorted});
  return sorted;
}

TensorId ChunkBuilder::scale_gradient(std::string_view name, TensorId x, float factor) {
  const Tensor input = tensor(x);
  const TensorId y = make(name, TensorRole::kActivation, input.type, input.rows, input.columns);
  record(OpKind::kScale, name, {x}, {y});
  tape_.back().gradient_factor = factor;
  return y;
}

RoutedTokens ChunkBuilder::replicate(std::string_view name, const RoutedTokens& x) {
  const RowCount once = tensor(x.tokens).rows;
  const RowCount rows{once.count * plan_.sizes().esp, RowSource::kRoutedShards, once.piece};
  const RoutedTokens y = like(name, x, rows);
  record(OpKind::kReplicate, name, {x.tokens, x.weights}, {y.tokens, y.weights});
  return y;
}

TensorId ChunkBuilder::replicate(std::string_view name, TensorId x) {
  const Tensor input = tensor(x);
  const RowCount rows{input.rows.count * plan_.sizes().esp, RowSource::kRoutedShards, input.rows.piece};
  const TensorId y = make(name, TensorRole::kActivation, input.type, rows, input.columns);
  record(OpKind::kReplicate, name, {x}, {y});
  return y;
}

TensorId ChunkBuilder::sum_replicas(std::string_view name, TensorId x) {
  const Tensor input = tensor(x);
  const RowCount rows{input.rows.count / plan_.sizes().esp, RowSource::kRouted, input.rows.piece};
  const TensorId y = make(name, TensorRole::kActivation, input.type, rows, input.columns);
  record(OpKind::kSumReplicas, name, {x}, {y});
  return y;
}

void ChunkBuilder::loss(std::string_view name, TensorId logits) {
  // Per token: largest logit, sum of exponentials, logit of the label; vocabulary shards combine theirs.
  loss_statistics_ = make("head.loss_statistics", TensorRole::kActivation, DType::kFp32, tensor(logits).rows, 3);
  loss_logits_ = logits;
  OperandList outputs{loss_statistics_};
  if (tensor(logits).type != DType::kFp32) {
    const Tensor narrow = tensor(logits);
    loss_logits_ = make("head.logits_fp32", TensorRole::kActivation, DType::kFp32, narrow.rows, narrow.columns);
    outputs.push_back(loss_logits_);
  }
  record(OpKind::kCrossEntropy, name, {logits}, outputs);
  if (plan_.sizes().tp > 1)
    loss_statistics_ = all_reduce("head.loss_reduce", loss_statistics_, GroupKind::kTp, Stream::kTp);
}

TensorId ChunkBuilder::tied_linear(std::string_view name, TensorId x, std::int64_t out) {
  const TensorId y = linear(
      name, x,
      {.in = tensor(x).columns, .out = out, .bias = model_.lm_head_bias, .high_precision = true, .transposed = true});
  chunk_.tensors[tape_.back().op.inputs[1].index()].tied = chunk_.has_embedding;
  return y;
}

}  // namespace moesim
