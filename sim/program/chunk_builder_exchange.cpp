// Token copies on their way to the experts and back, in the format that the plan names for the wire.
#include "base/error.hpp"
#include "sim/program/chunk_builder.hpp"
#include "sim/program/wire_format.hpp"

namespace moesim {

// Recorded where either pass compresses: an entry that has no forward operation stands for the place of its adjoint.
PackedTokens ChunkBuilder::compress(const RoutedTokens& x, OpKind exchange, GroupKind group) {
  const Tensor rows = tensor(x.tokens);
  PackedTokens packed{x, {}, exchange, group, rows.type};
  if (layout_.group_size(group) == 1) return packed;
  const auto type = packed_type(plan_, exchange, rows.type);
  if (!type && !packed_type(plan_, opposite_exchange(exchange), rows.type)) return packed;
  OperandList outputs{x.tokens};
  if (type) {
    packed.rows.tokens = make("moe.packed", TensorRole::kActivation, *type, rows.rows, rows.columns);
    outputs = {packed.rows.tokens};
    if (*type == DType::kFp8) {
      packed.scales = make("moe.scales", TensorRole::kActivation, DType::kFp32, rows.rows, scales_of_row(rows.columns));
      outputs.push_back(packed.scales);
    }
  }
  record(OpKind::kCompress, "moe.compress", {x.tokens}, outputs);
  tape_.back().forward = type.has_value();
  tape_.back().exchange = exchange;
  return packed;
}

PackedTokens ChunkBuilder::exchange(std::string_view name, const PackedTokens& x) {
  const bool out = x.exchange == OpKind::kDispatch;
  const bool shards = x.group == GroupKind::kEpEsp;
  const RowSource source = out ? (shards ? RowSource::kArrivedShards : RowSource::kArrived)
                               : (shards ? RowSource::kRoutedShards : RowSource::kRouted);
  const RowCount sent = tensor(x.rows.tokens).rows;
  return travel(name, x, {sent.count, source, sent.piece}, Stream::kEp);
}

PackedTokens ChunkBuilder::travel(std::string_view name, const PackedTokens& x, RowCount rows, Stream stream) {
  PackedTokens y = x;
  OperandList inputs;
  OperandList outputs;
  const auto move = [&](std::string_view operand_name, TensorId operand) {
    if (!operand.valid()) return TensorId();
    const Tensor sent = tensor(operand);
    const TensorId arrived = make(operand_name, TensorRole::kActivation, sent.type, rows, sent.columns);
    inputs.push_back(operand);
    outputs.push_back(arrived);
    return arrived;
  };
  y.rows.tokens = move(name, x.rows.tokens);
  y.rows.weights = move("gate.row_weight", x.rows.weights);
  y.scales = move("moe.scales", x.scales);
  Op& op = record(x.exchange, name, inputs, outputs);
  op.group = x.group;
  op.stream = stream;
  return y;
}

RoutedTokens ChunkBuilder::decompress(const PackedTokens& x) {
  if (layout_.group_size(x.group) == 1) return x.rows;
  const bool packed = packed_type(plan_, x.exchange, x.computed).has_value();
  if (!packed && !packed_type(plan_, opposite_exchange(x.exchange), x.computed)) return x.rows;
  RoutedTokens y = x.rows;
  const Tensor rows = tensor(x.rows.tokens);
  OperandList inputs{x.rows.tokens};
  if (x.scales.valid()) inputs.push_back(x.scales);
  if (packed) y.tokens = make("moe.unpacked", TensorRole::kActivation, x.computed, rows.rows, rows.columns);
  record(OpKind::kDecompress, "moe.decompress", inputs, {y.tokens});
  tape_.back().forward = packed;
  tape_.back().exchange = x.exchange;
  return y;
}

RoutedTokens ChunkBuilder::dispatch(std::string_view name, const RoutedTokens& x, GroupKind group) {
  return decompress(exchange(name, compress(x, OpKind::kDispatch, group)));
}

TensorId ChunkBuilder::dispatch(std::string_view name, TensorId x, GroupKind group) {
  return dispatch(name, RoutedTokens{x, {}}, group).tokens;
}

TensorId ChunkBuilder::combine(std::string_view name, TensorId x, GroupKind group) {
  return decompress(exchange(name, compress({x, {}}, OpKind::kCombine, group))).tokens;
}

}  // namespace moesim
